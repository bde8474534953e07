//! Asking a person while the clock stands still: deadlines of ours stop as long as a question is open.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::prompt::{Answer, Prompt, Prompter};

/// The deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the deadline passed")]
pub struct Overdue;

/// A prompter, and whether one of its questions is open.
#[derive(Debug, Clone)]
pub struct Asker {
    prompter: Prompter,
    open: Arc<watch::Sender<usize>>,
}

impl Asker {
    /// Asks through `prompter`.
    pub fn new(prompter: Prompter) -> Self {
        Self {
            prompter,
            open: Arc::new(watch::Sender::new(0)),
        }
    }

    /// The same clock, but nobody is asked (`BatchMode`).
    #[must_use]
    pub fn silent(&self) -> Self {
        Self {
            prompter: Prompter::nobody(),
            open: self.open.clone(),
        }
    }

    /// True when a person can be asked.
    pub fn is_interactive(&self) -> bool {
        self.prompter.is_interactive()
    }

    /// Asks, with the clock stopped. Cancel safe like [`Prompter::ask`].
    pub async fn ask(&self, prompt: Prompt) -> Answer {
        let _stopped = self.stop_clock();
        self.prompter.ask(prompt).await
    }

    /// Stops the clock while the guard lives, for waits on a person that are no question of ours
    /// (a key that wants to be touched).
    pub fn stop_clock(&self) -> ClockStopped {
        self.open.send_modify(|open| *open += 1);
        ClockStopped(self.open.clone())
    }

    /// Runs `work` for at most `limit`, not counting the time while a question is open; the limit
    /// starts over when the last question closes.
    ///
    /// # Errors
    /// [`Overdue`] when the limit passed first. Cancel safe as far as `work` is.
    pub async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Overdue> {
        let mut open = self.open.subscribe();
        tokio::pin!(work);
        let mut deadline = Instant::now() + limit;
        loop {
            let asking = *open.borrow_and_update() > 0;
            tokio::select! {
                biased;
                result = &mut work => return Ok(result),
                changed = open.changed() => {
                    // The sender lives as long as `self`.
                    if changed.is_ok() && *open.borrow() == 0 {
                        deadline = Instant::now() + limit;
                    }
                }
                () = tokio::time::sleep_until(deadline), if !asking => return Err(Overdue),
            }
        }
    }
}

/// The clock stands still while this lives.
#[derive(Debug)]
pub struct ClockStopped(Arc<watch::Sender<usize>>);

impl Drop for ClockStopped {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open = open.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn work_that_takes_too_long_is_overdue() {
        let asker = Asker::new(Prompter::nobody());
        let slow = tokio::time::sleep(Duration::from_secs(60));
        assert_eq!(asker.within(LIMIT, slow).await, Err(Overdue));
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_stands_still_while_a_question_is_open() {
        let (prompter, mut questions) = Prompter::channel();
        let asker = Asker::new(prompter);
        let person = tokio::spawn(async move {
            let request = questions.recv().await.unwrap();
            tokio::time::sleep(Duration::from_secs(600)).await;
            request.reply.send(Answer::TrustOnce).unwrap();
        });
        let asking = asker.clone();
        let work = async move {
            tokio::time::sleep(Duration::from_secs(9)).await;
            let prompt = Prompt::Password {
                login: "me@desktop".into(),
                attempt: 1,
            };
            let answer = asking.ask(prompt).await;
            tokio::time::sleep(Duration::from_secs(9)).await;
            answer
        };
        assert_eq!(asker.within(LIMIT, work).await, Ok(Answer::TrustOnce));
        person.await.unwrap();
    }
}
