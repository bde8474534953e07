//! The built-in echo: answers offline, word by word, so that everything can be tried without a model.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{ModelEvent, ModelRequest, Provider, ProviderError};
use crate::sessions::Usage;

/// The time between two words.
const WORD_DELAY: Duration = Duration::from_millis(20);
/// A long text is sent in this many steps at most, several words each.
const MAX_STEPS: usize = 1000;
/// The highest number that it counts to.
const MAX_COUNT: u32 = 10_000;
const INTRODUCTION: &str =
    "This is the built-in echo: no model is configured, so your own words come back.\n\n";

/// Sends the user's text back; "count to N" makes it count.
#[derive(Debug, Clone)]
pub struct Echo {
    delay: Duration,
}

impl Default for Echo {
    fn default() -> Self {
        Self { delay: WORD_DELAY }
    }
}

impl Echo {
    /// An echo with another time between two words.
    pub fn with_delay(delay: Duration) -> Self {
        Self { delay }
    }
}

#[async_trait]
impl Provider for Echo {
    async fn stream(
        &self,
        request: ModelRequest,
        tx: mpsc::Sender<ModelEvent>,
    ) -> Result<(), ProviderError> {
        let question = request.messages.last().map_or("", |last| &last.text);
        let mut answer = answer_to(question);
        // Said once a conversation, where nothing was answered yet.
        if request.messages.iter().all(|message| message.from_user) {
            answer.insert_str(0, INTRODUCTION);
        }
        let words: Vec<&str> = answer.split_inclusive(char::is_whitespace).collect();
        let words_a_step = words.len().div_ceil(MAX_STEPS).max(1);
        for step in words.chunks(words_a_step) {
            if tx.send(ModelEvent::Text(step.concat())).await.is_err() {
                return Ok(());
            }
            if !self.delay.is_zero() {
                tokio::time::sleep(self.delay).await;
            }
        }
        let input = request
            .messages
            .iter()
            .map(|message| count_words(&message.text))
            .sum();
        let output = count_words(&answer);
        let usage = Usage {
            input,
            output,
            total: input + output,
            ..Usage::default()
        };
        let _ = tx.send(ModelEvent::Usage(usage)).await;
        let _ = tx.send(ModelEvent::Stop("stop".to_owned())).await;
        Ok(())
    }
}

fn answer_to(question: &str) -> String {
    match count_asked(question) {
        Some(count) => {
            let numbers: Vec<String> = (1..=count).map(|n| n.to_string()).collect();
            numbers.join(" ")
        }
        None => question.to_owned(),
    }
}

/// The N of "count to N".
fn count_asked(question: &str) -> Option<u32> {
    let lower = question.to_lowercase();
    let (_, rest) = lower.split_once("count to ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let count: u32 = digits.parse().ok()?;
    Some(count.min(MAX_COUNT))
}

fn count_words(text: &str) -> i64 {
    i64::try_from(text.split_whitespace().count()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::ModelMessage;
    use super::*;

    async fn ask(messages: &[(bool, &str)]) -> String {
        let (tx, mut rx) = mpsc::channel(16);
        let request = ModelRequest {
            messages: messages
                .iter()
                .map(|&(from_user, text)| ModelMessage {
                    from_user,
                    text: text.to_owned(),
                })
                .collect(),
            ..Default::default()
        };
        let echo = Echo::with_delay(Duration::ZERO);
        let asked = tokio::spawn(async move { echo.stream(request, tx).await });
        let mut answer = String::new();
        while let Some(event) = rx.recv().await {
            if let ModelEvent::Text(piece) = event {
                answer.push_str(&piece);
            }
        }
        asked.await.unwrap().unwrap();
        answer
    }

    #[tokio::test]
    async fn it_says_what_it_is_once_and_gives_the_words_back() {
        let first = ask(&[(true, "hello  there\n")]).await;
        assert!(first.starts_with("This is the built-in echo"), "{first}");
        assert!(first.ends_with("hello  there\n"), "{first}");
        let later = ask(&[(true, "a"), (false, "b"), (true, "hello again")]).await;
        assert_eq!(later, "hello again");
    }

    #[tokio::test]
    async fn it_counts_when_asked() {
        let counted = ask(&[(false, ""), (true, "please count to 200.")]).await;
        assert!(counted.starts_with("1 2 3 ") && counted.ends_with(" 199 200"));
        assert_eq!(
            ask(&[(false, ""), (true, "count to me")]).await,
            "count to me"
        );
    }

    #[tokio::test]
    async fn a_very_long_text_comes_back_whole() {
        let long = "word ".repeat(12_345);
        assert_eq!(ask(&[(false, ""), (true, &long)]).await, long);
    }
}
