//! Signing in with the account's password.

use std::time::Duration;

use russh::MethodKind;
use russh::client::AuthResult;

use crate::layer::{LayerError, Retry};
use crate::secret::Secret;
use crate::tunnel::prompt::{Answer, Prompt};

use super::spent::Spent;
use super::{Answered, SignIn, Step, answer};

/// After this long without a decision the server may be waiting for a new password, which russh does
/// not tell.
const NEWS_DUE: Duration = Duration::from_secs(8);
/// How long a server that is waiting for us may take to answer, beyond the way there and back.
const AT_ONCE: Duration = Duration::from_millis(300);

impl SignIn<'_> {
    /// The password that worked last time, else a question.
    pub(super) async fn with_password(&mut self) -> Result<Step, LayerError> {
        let login = self.login();
        // Held while asking: a second tunnel waits for the same answer instead of asking again.
        let turn = self.memory.password_turn(&login);
        let Ok(_turn) = self.person.wait(turn.lock()).await else {
            return Err(self.hung_up());
        };
        if let Some(password) = self.memory.password(&login) {
            let step = self.try_password(&login, password).await?;
            if !matches!(step, Step::Refused) {
                return Ok(step);
            }
        }
        if !self.person.is_there() {
            self.note("the server takes a password and nobody can be asked".into());
            return Ok(Step::Refused);
        }
        for attempt in 1..=self.hop.password_prompts {
            if !self.allowed.contains(&MethodKind::Password) {
                break;
            }
            let prompt = Prompt::Password {
                login: login.clone(),
                attempt,
            };
            self.spend(Spent::Answers);
            self.show_banner();
            let password = match self.person.ask(prompt).await {
                Ok(Answer::Secret(password)) => password,
                Ok(_) => return Err(self.cancelled()),
                Err(_) => return Err(self.hung_up()),
            };
            let step = self.try_password(&login, password).await?;
            if !matches!(step, Step::Refused) {
                return Ok(step);
            }
        }
        Ok(Step::Refused)
    }

    async fn try_password(&mut self, login: &str, password: Secret) -> Result<Step, LayerError> {
        let user = self.hop.user.clone();
        let text = password.expose().to_owned();
        self.spend(Spent::Answers);
        self.expect_decision();
        let trying = self.handle.authenticate_password(user, text);
        let result = match self.person.asker.within(NEWS_DUE, trying).await {
            Ok(Ok(result)) => Answered::Answer(result),
            Ok(Err(_)) => Answered::Lost,
            Err(_) => self.late_decision(login).await?,
        };
        let step = match self.judge(result)? {
            Step::In(_) => Step::In("password".into()),
            other => other,
        };
        match step {
            Step::Refused => {
                self.tried("password");
                self.memory.set_password(login, None);
            }
            Step::In(_) | Step::Partial => self.memory.set_password(login, Some(password)),
        }
        Ok(step)
    }

    /// A server that is only slow decides in the end. One that waits for a new password (RFC 4252,
    /// section 8) would wait for ever, so it is asked something else, which ends that wait and is
    /// answered at once.
    async fn late_decision(&mut self, login: &str) -> Result<Answered<AuthResult>, LayerError> {
        let user = self.hop.user.clone();
        let started = tokio::time::Instant::now();
        let asking = self.handle.authenticate_none(user);
        let result = answer(&self.person.asker, self.spent, asking).await;
        if !matches!(&result, Answered::Answer(AuthResult::Failure { remaining_methods, .. })
            if !remaining_methods.is_empty())
        {
            return Ok(result);
        }
        self.memory.set_password(login, None);
        if waited_for_us(started.elapsed(), self.round_trip) {
            return Err(self.password_expired());
        }
        // The answer to what was asked later is still due, so nothing more can be tried here.
        self.tried("password");
        Err(self.refused())
    }

    fn password_expired(&self) -> LayerError {
        let (server, user) = (&self.hop.alias, &self.hop.user);
        self.error(format!("the password of {user} at {server} has expired"))
            .peer(&self.diagnostics.banner())
            .next("log in once with ssh to change it")
            .retry(Retry::Attention)
    }
}

/// Whether an answer that took so long was that of a server with nothing else to do.
fn waited_for_us(took: Duration, round_trip: Duration) -> bool {
    took < round_trip * 2 + AT_ONCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_answer_after_a_long_silence_means_that_the_server_waited() {
        let ms = Duration::from_millis;
        assert!(waited_for_us(ms(1), ms(0)));
        assert!(waited_for_us(ms(500), ms(250)));
        assert!(!waited_for_us(ms(800), ms(20)));
        assert!(!waited_for_us(ms(30_000), ms(250)));
    }
}
