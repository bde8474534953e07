//! Why a sign-in did not work, in words, and what may be done about it.

use crate::layer::{Layer, LayerError, Retry, printable};

use super::SignIn;

impl SignIn<'_> {
    /// The connection ended before the server decided.
    pub(super) fn lost(&self) -> LayerError {
        let server = &self.hop.alias;
        let words = self.diagnostics.parting().unwrap_or_default();
        if words.contains("Too many authentication") {
            return self
                .error(format!(
                    "{server} ended the sign-in after too many tries{}",
                    self.what_was_tried()
                ))
                .peer(&words)
                .next("name the right key with -i, and IdentitiesOnly yes keeps the others back")
                .retry(Retry::Attention);
        }
        let late = match self.banners_before_decision {
            Some(before) => self.diagnostics.banner_after(before),
            None => String::new(),
        };
        if late.is_empty() {
            self.error(format!(
                "the connection to {server} was lost while signing in"
            ))
            .peer(&words)
            .retry(self.spent.retry())
        } else {
            turned_away(server, &self.hop.user, &late)
        }
    }

    /// The connection ended while a person was asked.
    pub(super) fn hung_up(&self) -> LayerError {
        self.error(format!(
            "{} closed the connection while it waited for an answer",
            self.hop.alias
        ))
        .peer(&self.diagnostics.parting().unwrap_or_default())
        .next("its LoginGraceTime may be short; connect again and answer sooner")
        .retry(Retry::Attention)
    }

    /// The server says nothing.
    pub(super) fn silent(&self) -> LayerError {
        self.error(format!(
            "{} did not answer the sign-in within {} s",
            self.hop.alias,
            self.spent.patience().as_secs()
        ))
        .retry(self.spent.retry())
    }

    /// Nothing worked.
    pub(super) fn refused(&self) -> LayerError {
        let what = format!(
            "{} refused to let {} in{}",
            self.hop.alias,
            self.hop.user,
            self.what_was_tried()
        );
        let allowed: Vec<&str> = self.allowed.iter().map(Into::into).collect();
        let noted = |word: &str| self.notes.iter().any(|note| note.contains(word));
        let next = if noted("certificate") && noted(" expired ") {
            "renew the certificate; clawline goes on by itself when its file changes".to_owned()
        } else if noted("passphrase") {
            "ssh-add the key, or run in a terminal where it can be asked for".to_owned()
        } else if allowed.is_empty() {
            "name a key with -i, or add yours to authorized_keys there".to_owned()
        } else {
            format!(
                "name a key with -i, or add yours to authorized_keys there; it takes {}",
                printable(&allowed.join(", "), 120)
            )
        };
        self.error(what)
            .peer(&self.diagnostics.banner())
            .next(next)
            .retry(Retry::Attention)
    }

    pub(super) fn cancelled(&self) -> LayerError {
        self.error(format!("the sign-in to {} was cancelled", self.hop.alias))
            .retry(Retry::Attention)
    }

    /// What was offered, and what kept other things from being offered.
    fn what_was_tried(&self) -> String {
        let mut text = if self.tried.is_empty() {
            " (nothing to offer)".to_owned()
        } else {
            format!(" (tried {})", self.tried.join(", "))
        };
        for note in &self.notes {
            text.push_str("; ");
            text.push_str(note);
        }
        text
    }

    pub(super) fn error(&self, what: String) -> LayerError {
        LayerError::new(Layer::SignIn, what)
    }
}

/// The server took the proof, said something about the account, and closed the connection.
fn turned_away(server: &str, user: &str, said: &str) -> LayerError {
    let text = said.to_lowercase();
    let error = |what: String| LayerError::new(Layer::SignIn, what).peer(said);
    if text.contains("account") && text.contains("expired") {
        return error(format!("the account {user} at {server} has expired"))
            .next("ask who runs that machine to renew it")
            .retry(Retry::Attention);
    }
    if text.contains("password") || text.contains("authentication token") {
        return error(format!(
            "{server} wants {user} to change the password first"
        ))
        .next("log in once with ssh to change it")
        .retry(Retry::Attention);
    }
    error(format!("{server} lets {user} not in at the moment"))
        .next("it is looked at again every half minute")
        .retry(Retry::Steady)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_about_the_account_decides_what_is_done() {
        for (said, what, retry) in [
            (
                "Your account has expired; please contact your system administrator.",
                "the account me at desktop has expired",
                Retry::Attention,
            ),
            (
                "You are required to change your password immediately (administrator enforced).",
                "desktop wants me to change the password first",
                Retry::Attention,
            ),
            (
                "System is going down. Unprivileged users are not permitted to log in anymore.",
                "desktop lets me not in at the moment",
                Retry::Steady,
            ),
        ] {
            let error = turned_away("desktop", "me", said);
            assert_eq!((error.what.as_str(), error.retry), (what, retry));
            assert_eq!(
                (error.layer, error.peer_text.as_str()),
                (Layer::SignIn, said)
            );
        }
    }
}
