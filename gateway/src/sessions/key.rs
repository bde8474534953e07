//! Session keys and agent ids: one spelling for each session.

use std::fmt;

use clawline::layer::is_unsafe_to_show;

/// The longest canonical session key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;
/// The longest agent id, in bytes.
pub const MAX_AGENT_ID_BYTES: usize = 64;
/// The agent that exists when none is configured.
pub const MAIN_AGENT: &str = "main";
/// The name of each agent's main session.
pub const MAIN_SESSION: &str = "main";

/// Why a text is not a session key or an agent id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("malformed session key: it is empty")]
    Empty,
    #[error("malformed session key: it has {bytes} bytes; at most {MAX_KEY_BYTES} are allowed")]
    TooLong { bytes: usize },
    #[error("malformed session key: it holds white space or characters that cannot be shown")]
    Unprintable,
    #[error("malformed session key: it names an agent but no session; write agent:<id>:<name>")]
    NoName,
    #[error("malformed session key: it climbs a path with \"..\"")]
    Climbs,
    #[error(
        "\"{id}\" is not an agent id: use lower-case letters, digits, \"_\" and \"-\", at most {MAX_AGENT_ID_BYTES}, a letter or digit first"
    )]
    BadAgent { id: String },
}

/// A checked agent id: `[a-z0-9][a-z0-9_-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(String);

impl AgentId {
    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let good = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let bytes = text.as_bytes();
        let fits = (1..=MAX_AGENT_ID_BYTES).contains(&bytes.len())
            && good(bytes[0])
            && bytes.iter().all(|&c| good(c) || c == b'_' || c == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyError::BadAgent {
                id: clawline::layer::printable(text, MAX_AGENT_ID_BYTES),
            })
        }
    }

    /// The agent `main`.
    pub fn main() -> Self {
        Self(MAIN_AGENT.to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A canonical session key: `agent:<id>:<rest>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    text: String,
    agent_end: usize,
}

const PREFIX: &str = "agent:";

impl SessionKey {
    /// Turns what a client wrote into the canonical key: `agent:<id>:<rest>` stays, anything else
    /// is a name under `default_agent`.
    pub fn resolve(text: &str, default_agent: &AgentId) -> Result<Self, KeyError> {
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        match text.strip_prefix(PREFIX) {
            Some(rest) => {
                let (id, name) = rest.split_once(':').ok_or(KeyError::NoName)?;
                Self::build(&AgentId::parse(id)?, name)
            }
            None => Self::build(default_agent, text),
        }
    }

    /// Reads a key that is canonical already, as the store holds it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if !text.starts_with(PREFIX) {
            return Err(KeyError::NoName);
        }
        Self::resolve(text, &AgentId::main())
    }

    /// The main session of an agent.
    pub fn main(agent: &AgentId) -> Self {
        Self {
            text: format!("{PREFIX}{agent}:{MAIN_SESSION}"),
            agent_end: PREFIX.len() + agent.as_str().len(),
        }
    }

    fn build(agent: &AgentId, name: &str) -> Result<Self, KeyError> {
        if name.is_empty() {
            return Err(KeyError::NoName);
        }
        let text = format!("{PREFIX}{agent}:{name}");
        if text.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong { bytes: text.len() });
        }
        if name
            .chars()
            .any(|c| c.is_whitespace() || is_unsafe_to_show(c))
        {
            return Err(KeyError::Unprintable);
        }
        // A key is never a path here, and must not become one in somebody's script.
        if name.split(['/', '\\']).any(|part| part == "..") {
            return Err(KeyError::Climbs);
        }
        Ok(Self {
            text,
            agent_end: PREFIX.len() + agent.as_str().len(),
        })
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The agent's id inside the key.
    pub fn agent_id(&self) -> &str {
        &self.text[PREFIX.len()..self.agent_end]
    }

    /// What follows the agent's id.
    pub fn name(&self) -> &str {
        &self.text[self.agent_end + 1..]
    }

    /// True for the main session of its agent, which cannot be deleted.
    pub fn is_main(&self) -> bool {
        self.name() == MAIN_SESSION
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolve(text: &str) -> Result<String, KeyError> {
        SessionKey::resolve(text, &AgentId::main()).map(|key| key.to_string())
    }

    #[test]
    fn a_bare_name_belongs_to_the_default_agent() {
        assert_eq!(resolve("main").unwrap(), "agent:main:main");
        assert_eq!(resolve("telegram:42").unwrap(), "agent:main:telegram:42");
        assert_eq!(resolve("agent:work:a:b").unwrap(), "agent:work:a:b");
        let key = SessionKey::parse("agent:work:a:b").unwrap();
        assert_eq!((key.agent_id(), key.name()), ("work", "a:b"));
        assert!(!key.is_main());
        assert!(SessionKey::main(&AgentId::main()).is_main());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for (text, error) in [
            ("", KeyError::Empty),
            ("agent:main", KeyError::NoName),
            ("agent:main:", KeyError::NoName),
            ("two words", KeyError::Unprintable),
            ("a\u{202e}b", KeyError::Unprintable),
            ("line\nbreak", KeyError::Unprintable),
            ("../../etc/passwd", KeyError::Climbs),
            ("agent:main:a\\..\\b", KeyError::Climbs),
            (
                "agent:Main:x",
                KeyError::BadAgent {
                    id: "Main".to_owned(),
                },
            ),
            ("agent::x", KeyError::BadAgent { id: String::new() }),
        ] {
            assert_eq!(resolve(text), Err(error), "{text:?}");
        }
        assert!(matches!(
            resolve(&"x".repeat(600)),
            Err(KeyError::TooLong { .. })
        ));
        assert!(AgentId::parse(&"a".repeat(64)).is_ok());
        assert!(AgentId::parse(&"a".repeat(65)).is_err());
        assert!(AgentId::parse("-a").is_err());
    }

    proptest! {
        #[test]
        fn any_text_gives_a_key_that_stays_itself_or_an_error(text in ".{0,600}") {
            if let Ok(key) = resolve(&text) {
                prop_assert!(key.len() <= MAX_KEY_BYTES);
                prop_assert!(!key.chars().any(char::is_whitespace));
                prop_assert_eq!(resolve(&key).unwrap(), key.clone());
                let parsed = SessionKey::parse(&key).unwrap();
                prop_assert_eq!(parsed.as_str(), key);
            }
        }

        #[test]
        fn names_that_are_printable_are_taken(name in "[a-zA-Z0-9._:/@+-]{1,80}") {
            prop_assume!(!name.starts_with("agent:") && !name.contains(".."));
            prop_assert_eq!(resolve(&name).unwrap(), format!("agent:main:{name}"));
        }
    }
}
