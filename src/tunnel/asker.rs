//! Asking a person while the clock stands still: deadlines of ours stop as long as a question is open.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::hang_up::HangUp;
use super::prompt::{Answer, Prompt, Prompter};
use super::transport::Lifeline;

/// An agent that takes longer than this to sign has asked somebody: a touch, or a question of its own.
const BY_HAND: Duration = Duration::from_millis(700);

/// The deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the deadline passed")]
pub struct Overdue;

/// A prompter, and whether one of its questions is open.
#[derive(Debug, Clone)]
pub struct Asker {
    prompter: Prompter,
    open: Arc<watch::Sender<usize>>,
    /// How often a person was needed for something that is not remembered.
    needed: Arc<AtomicUsize>,
}

impl Asker {
    /// Asks through `prompter`.
    pub fn new(prompter: Prompter) -> Self {
        Self {
            prompter,
            open: Arc::new(watch::Sender::new(0)),
            needed: Arc::default(),
        }
    }

    /// The same clock, but nobody is asked (`BatchMode`).
    #[must_use]
    pub fn silent(&self) -> Self {
        Self {
            prompter: Prompter::nobody(),
            open: self.open.clone(),
            needed: self.needed.clone(),
        }
    }

    /// True when a person can be asked.
    pub fn is_interactive(&self) -> bool {
        self.prompter.is_interactive()
    }

    /// Asks, with the clock stopped. Cancel safe like [`Prompter::ask`].
    pub async fn ask(&self, prompt: Prompt) -> Answer {
        if !matches!(prompt, Prompt::Passphrase { .. }) {
            self.needed.fetch_add(1, Ordering::Relaxed);
        }
        let _stopped = self.open_question(None);
        self.prompter.ask(prompt).await
    }

    /// True while the clock stands still.
    pub(crate) fn is_asking(&self) -> bool {
        *self.open.borrow() > 0
    }

    /// Stops the clock while the guard lives, for waits on a person that are no question of ours
    /// (a key that wants to be touched).
    pub fn stop_clock(&self) -> ClockStopped {
        self.open_question(Some((Instant::now(), self.needed.clone())))
    }

    /// Watches from now on whether a person is needed. A passphrase does not count, since a decrypted
    /// key is remembered.
    pub(crate) fn questions(&self) -> Questions {
        Questions {
            needed: self.needed.clone(),
            before: self.needed.load(Ordering::Relaxed),
        }
    }

    fn open_question(&self, perhaps_needed: Option<(Instant, Arc<AtomicUsize>)>) -> ClockStopped {
        self.open.send_modify(|open| *open += 1);
        ClockStopped {
            open: self.open.clone(),
            perhaps_needed,
        }
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

/// Whether a person was needed since it was made.
pub(crate) struct Questions {
    needed: Arc<AtomicUsize>,
    before: usize,
}

impl Questions {
    pub(crate) fn were_asked(&self) -> bool {
        self.needed.load(Ordering::Relaxed) != self.before
    }
}

/// The clock stands still while this lives.
#[derive(Debug)]
pub struct ClockStopped {
    open: Arc<watch::Sender<usize>>,
    /// Since when, and where to count it when it takes as long as a person does.
    perhaps_needed: Option<(Instant, Arc<AtomicUsize>)>,
}

impl Drop for ClockStopped {
    fn drop(&mut self) {
        if let Some((since, needed)) = &self.perhaps_needed
            && since.elapsed() > BY_HAND
        {
            needed.fetch_add(1, Ordering::Relaxed);
        }
        self.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}

/// The connection ended before the person answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection ended")]
pub(crate) struct HungUp;

/// A person, asked on behalf of one connection: a question ends with it.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) asker: Asker,
    pub(crate) life: Lifeline,
    pub(crate) hang_up: HangUp,
}

impl Person {
    /// True when somebody can be asked.
    pub(crate) fn is_there(&self) -> bool {
        self.asker.is_interactive()
    }

    /// Asks, with the clock stopped; the question is withdrawn when the connection ends.
    pub(crate) async fn ask(&self, prompt: Prompt) -> Result<Answer, HungUp> {
        self.until_hung_up(self.asker.ask(prompt)).await
    }

    /// Waits for something that hangs on a person, with the clock stopped, until the connection ends.
    /// Cancel safe as far as `work` is.
    pub(crate) async fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, HungUp> {
        let _stopped = self.asker.open_question(None);
        self.until_hung_up(work).await
    }

    async fn until_hung_up<T>(&self, work: impl Future<Output = T>) -> Result<T, HungUp> {
        tokio::select! {
            biased;
            result = work => Ok(result),
            () = self.life.over() => Err(HungUp),
            () = self.hang_up.happened() => Err(HungUp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_touch_and_a_password_take_a_person_and_a_quick_agent_does_not() {
        let asker = Asker::new(Prompter::nobody());
        let questions = asker.questions();
        drop(asker.stop_clock());
        let passphrase = Prompt::Passphrase {
            path: "id".into(),
            attempt: 1,
        };
        let _ = asker.ask(passphrase).await;
        assert!(!questions.were_asked());
        let touch = asker.stop_clock();
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop(touch);
        assert!(questions.were_asked());
        let questions = asker.questions();
        let password = Prompt::Password {
            login: "me@desktop".into(),
            attempt: 1,
        };
        let _ = asker.ask(password).await;
        assert!(questions.were_asked());
    }

    #[tokio::test]
    async fn a_question_is_withdrawn_when_its_connection_ends() {
        let (prompter, mut questions) = Prompter::channel();
        let life = Lifeline::default();
        let person = Person {
            asker: Asker::new(prompter),
            life: life.clone(),
            hang_up: HangUp::default(),
        };
        let prompt = Prompt::Password {
            login: "me@desktop".into(),
            attempt: 1,
        };
        let asking = tokio::spawn(async move { person.ask(prompt).await });
        let mut request = questions.recv().await.unwrap();
        life.cut();
        request.reply.closed().await;
        assert_eq!(asking.await.unwrap(), Err(HungUp));
    }

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
