//! `voicewake.*`: the words to which nodes with a microphone listen.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::NoParams;
use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// The words in force.
    VoicewakeGet = "voicewake.get", |_, _| Needs::Operator(Scope::Read), NoParams => Triggers;
    /// Other words; everybody is told by `voicewake.changed`.
    VoicewakeSet = "voicewake.set", |_, _| Needs::Operator(Scope::Write), Triggers => Triggers;
    /// `{config}`: where a spoken message goes; always the current session (version 4).
    VoicewakeRoutingGet = "voicewake.routing.get", |_, _| Needs::Operator(Scope::Read), NoParams => Value;
}

/// Parameters, reply, and the payload of `voicewake.changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triggers {
    /// The words.
    pub triggers: Vec<String>,
}
