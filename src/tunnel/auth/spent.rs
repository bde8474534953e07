//! What a sign-in has cost so far, and so how long the server may take and how soon it may be tried again.

use std::time::Duration;

use crate::layer::Retry;

/// How long the server may take to answer one step.
const SERVER_ANSWER: Duration = Duration::from_secs(20);
/// How long it may take once a person has answered or a password was sent: it may wait for a second
/// device of that person, or delay what it believes to be guessing.
const SERVER_DECISION: Duration = Duration::from_secs(120);

/// What the server got to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spent {
    /// Nothing that it counts.
    Nothing,
    /// Keys that it refused. It counts them.
    Keys,
    /// A person's attention or a secret: questions, a password, the start of a method in which the
    /// server calls the person up by itself.
    Answers,
}

impl Spent {
    /// How long the server may take to answer now.
    pub(super) fn patience(self) -> Duration {
        match self {
            Self::Nothing | Self::Keys => SERVER_ANSWER,
            Self::Answers => SERVER_DECISION,
        }
    }

    /// What may be done by itself when the sign-in ends without a decision. Coming back would cost the
    /// same again: another call on the person's phone, another failed try towards a lockout.
    pub(super) fn retry(self) -> Retry {
        match self {
            Self::Nothing => Retry::Backoff,
            Self::Keys => Retry::Later,
            Self::Answers => Retry::Attention,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_was_shown_a_secret_gets_time_and_is_not_asked_again_by_itself() {
        assert_eq!(Spent::Answers.patience(), Duration::from_secs(120));
        assert_eq!(Spent::Answers.retry(), Retry::Attention);
    }

    #[test]
    fn refused_keys_are_not_offered_again_before_a_minute() {
        assert_eq!(Spent::Keys.retry(), Retry::Later);
        assert_eq!(Spent::Nothing.retry(), Retry::Backoff);
        assert!(Spent::Nothing < Spent::Keys && Spent::Keys < Spent::Answers);
    }
}
