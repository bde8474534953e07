//! Questions: host keys, passphrases, passwords, the gateway's token. No timer runs while one is open.

use clawline::secret::Secret;
use clawline::tunnel::prompt::{Answer, Prompt};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Names a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PromptId(pub(crate) u64);

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The tunnel.
    Tunnel(PromptId, Prompt),
    /// We do, because the gateway wants a token or its password; with the words of the refusal.
    Gateway {
        /// Its password instead of a token.
        password: bool,
        /// What the gateway said.
        words: String,
    },
}

/// A text that is typed; wiped when it is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// What it is for.
    pub(crate) label: String,
    /// Whether the text may be shown.
    pub(crate) is_shown: bool,
    /// The text.
    pub(crate) text: Secret,
}

/// An open question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// Who asks.
    pub(crate) asker: Asker,
    /// What is typed; empty for a choice.
    pub(crate) fields: Vec<Field>,
    /// The field or the button that has the focus.
    pub(crate) focus: usize,
    /// Letters that were typed since the answer was chosen by other means: a second one says that
    /// somebody is writing something else, and letters choose nothing then.
    letters: usize,
}

/// The answers to an unknown host key, the safe one first.
pub(crate) const HOST_KEY_ANSWERS: [(&str, char); 3] = [
    ("no", 'n'),
    ("trust and remember", 'y'),
    ("trust once", 'o'),
];

/// What a key did to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Still open.
    Open,
    /// The tunnel's question has this answer.
    Answered(PromptId, Answer),
    /// This is the gateway's token.
    Token(Secret),
    /// This is the gateway's password.
    Password(Secret),
    /// It will not be given now.
    Dismissed,
}

impl Question {
    /// A question of the tunnel.
    pub(crate) fn of_tunnel(id: PromptId, prompt: Prompt) -> Self {
        let secret = |label: &str| Field {
            label: label.to_owned(),
            is_shown: false,
            text: Secret::default(),
        };
        let fields = match &prompt {
            Prompt::UnknownHostKey { .. } => Vec::new(),
            Prompt::Passphrase { .. } => vec![secret("passphrase")],
            Prompt::Password { .. } => vec![secret("password")],
            Prompt::KeyboardInteractive { questions, .. } => questions
                .iter()
                .map(|(label, is_shown)| Field {
                    label: crate::widgets::text::one_line(label),
                    is_shown: *is_shown,
                    text: Secret::default(),
                })
                .collect(),
        };
        Self {
            asker: Asker::Tunnel(id, prompt),
            fields,
            focus: 0,
            letters: 0,
        }
    }

    /// The question for the gateway's token, or its password.
    pub(crate) fn of_gateway(words: String, password: bool) -> Self {
        Self {
            asker: Asker::Gateway { password, words },
            fields: vec![Field {
                label: if password { "password" } else { "token" }.to_owned(),
                is_shown: false,
                text: Secret::default(),
            }],
            focus: 0,
            letters: 0,
        }
    }

    fn is_host_key(&self) -> bool {
        matches!(self.asker, Asker::Tunnel(_, Prompt::UnknownHostKey { .. }))
    }

    fn places(&self) -> usize {
        if self.is_host_key() {
            HOST_KEY_ANSWERS.len()
        } else {
            self.fields.len().max(1)
        }
    }

    /// Moves the focus on, or back.
    pub(crate) fn step(&mut self, forward: bool) {
        let places = self.places();
        let by = if forward { 1 } else { places - 1 };
        self.letters = 0;
        self.focus = (self.focus + by) % places;
    }

    /// The answer as it stands; a text question with several fields goes to the next one first.
    pub(crate) fn answer(&mut self) -> Outcome {
        if !self.is_host_key() && self.focus + 1 < self.fields.len() {
            self.focus += 1;
            return Outcome::Open;
        }
        let first = || {
            self.fields
                .first()
                .map(|field| field.text.clone())
                .unwrap_or_default()
        };
        match &self.asker {
            Asker::Gateway { .. } if first().is_blank() => Outcome::Open,
            Asker::Gateway { password: true, .. } => Outcome::Password(first()),
            Asker::Gateway { .. } => Outcome::Token(Secret::new(first().expose().trim())),
            Asker::Tunnel(id, prompt) => {
                let answer = match prompt {
                    Prompt::UnknownHostKey { .. } => match self.focus {
                        1 => Answer::TrustAndRemember,
                        2 => Answer::TrustOnce,
                        _ => Answer::Cancel,
                    },
                    Prompt::Passphrase { .. } | Prompt::Password { .. } => Answer::Secret(first()),
                    Prompt::KeyboardInteractive { .. } => {
                        Answer::Texts(self.fields.iter().map(|field| field.text.clone()).collect())
                    }
                };
                Outcome::Answered(*id, answer)
            }
        }
    }

    /// No.
    pub(crate) fn refuse(&self) -> Outcome {
        match &self.asker {
            Asker::Gateway { .. } => Outcome::Dismissed,
            Asker::Tunnel(id, _) => Outcome::Answered(*id, Answer::Cancel),
        }
    }

    /// A key that the table does not know: a letter of the text, or of an answer.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Outcome {
        let is_letter = (key.modifiers - KeyModifiers::SHIFT).is_empty();
        if self.is_host_key() {
            if let (KeyCode::Char(c), true) = (key.code, is_letter) {
                self.letter(c.to_ascii_lowercase());
            }
            return Outcome::Open;
        }
        let Some(field) = self.fields.get_mut(self.focus) else {
            return Outcome::Open;
        };
        match key.code {
            KeyCode::Char('u') if key.modifiers == KeyModifiers::CONTROL => {
                field.text = Secret::default();
            }
            KeyCode::Char(c) if is_letter => push(&mut field.text, &c.to_string()),
            KeyCode::Backspace => {
                let mut text = field.text.expose().to_owned();
                text.pop();
                field.text = Secret::new(text);
            }
            _ => {}
        }
        Outcome::Open
    }

    /// A letter chooses an answer to a host key, and Enter gives it. Text that was meant for the message
    /// and ends in Enter must not: after a letter that is no answer, or a second one, the answer is no.
    fn letter(&mut self, typed: char) {
        self.letters += 1;
        let mut letters = HOST_KEY_ANSWERS.iter().map(|(_, letter)| *letter);
        self.focus = match letters.position(|letter| letter == typed) {
            Some(place) if self.letters == 1 => place,
            _ => 0,
        };
    }

    /// Pasted text goes into the field without its line breaks.
    pub(crate) fn paste(&mut self, text: &str) {
        if let Some(field) = self.fields.get_mut(self.focus) {
            let line: String = text.chars().filter(|c| !c.is_control()).collect();
            push(&mut field.text, &line);
        }
    }
}

fn push(secret: &mut Secret, more: &str) {
    let mut text = secret.expose().to_owned();
    text.push_str(more);
    *secret = Secret::new(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_key() -> Question {
        let prompt = Prompt::UnknownHostKey {
            host: "desktop".into(),
            address: "203.0.113.7".into(),
            algorithm: "ssh-ed25519".into(),
            fingerprint: "SHA256:x".into(),
            randomart: String::new(),
            note: String::new(),
        };
        Question::of_tunnel(PromptId(1), prompt)
    }

    fn letter(c: char) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)
    }

    #[test]
    fn a_host_key_is_refused_unless_trust_is_chosen() {
        let mut question = host_key();
        assert_eq!(
            question.answer(),
            Outcome::Answered(PromptId(1), Answer::Cancel)
        );
        assert_eq!(
            question.refuse(),
            Outcome::Answered(PromptId(1), Answer::Cancel)
        );
        assert_eq!(
            question.key(letter('y')),
            Outcome::Open,
            "a letter alone trusts nothing"
        );
        assert_eq!(
            question.answer(),
            Outcome::Answered(PromptId(1), Answer::TrustAndRemember)
        );
        question.step(true);
        assert_eq!(
            question.answer(),
            Outcome::Answered(PromptId(1), Answer::TrustOnce)
        );
        question.step(true);
        assert_eq!(
            question.answer(),
            Outcome::Answered(PromptId(1), Answer::Cancel)
        );
    }

    #[test]
    fn a_message_typed_into_the_question_trusts_nothing() {
        let refused = Outcome::Answered(PromptId(1), Answer::Cancel);
        for text in ["hello", "why", "o no", "yy", "xo", "ny"] {
            let mut question = host_key();
            for c in text.chars() {
                question.key(letter(c));
            }
            assert_eq!(question.answer(), refused, "{text}");
        }
        let mut question = host_key();
        question.key(letter('x'));
        question.step(true);
        assert_eq!(
            question.answer(),
            Outcome::Answered(PromptId(1), Answer::TrustAndRemember),
            "Tab chooses after that"
        );
    }

    #[test]
    fn every_field_is_asked_before_the_answer_goes_out() {
        let prompt = Prompt::KeyboardInteractive {
            login: "me@desktop".into(),
            name: String::new(),
            instructions: String::new(),
            questions: vec![("Password:".into(), false), ("Code:".into(), true)],
        };
        let mut question = Question::of_tunnel(PromptId(2), prompt);
        question.key(letter('a'));
        assert_eq!(question.answer(), Outcome::Open);
        question.paste("12\n3");
        let texts = vec![Secret::new("a"), Secret::new("123")];
        assert_eq!(
            question.answer(),
            Outcome::Answered(PromptId(2), Answer::Texts(texts))
        );
    }

    #[test]
    fn a_token_loses_the_white_space_around_it_and_an_empty_one_is_not_given() {
        let mut question = Question::of_gateway("token wanted".into(), false);
        assert_eq!(question.answer(), Outcome::Open);
        question.paste(" t0ken \n");
        assert_eq!(question.answer(), Outcome::Token(Secret::new("t0ken")));
    }
}
