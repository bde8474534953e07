//! Runs of the model: accepted once, answered once, streamed while they go.
//!
//! [`Runs::submit`] commits, the queue decides who is next, a driver feeds a pure state machine
//! with what a provider streams, and the store keeps how it ended.

mod accept;
mod catalog;
mod command;
mod config;
mod driver;
mod ending;
mod event;
mod hold;
mod lost;
mod machine;
mod model;
mod models;
mod provider;
mod queue;
mod replace;
mod service;
mod upkeep;

pub use catalog::{AgentInfo, ConfigProblem, ECHO_MODEL, ECHO_PROVIDER, UnknownModel};
pub(crate) use command::halted;
pub use command::{CommandSubmit, INJECTED_MODEL, INJECTED_PROVIDER};
pub use config::{
    AgentConfig, AgentsConfig, ModelConfig, ModelsConfig, ProviderConfig, ProviderKind,
};
pub use event::{RunErrorKind, RunEvent, RunStep};
pub use model::{
    Accepted, ActiveRun, BadRunId, MAX_RUN_ID_CHARS, Run, RunId, RunKind, RunOptions, RunOutcome,
    RunState, Submit, SubmitStatus,
};
pub use models::{ModelInfo, Models};
pub use provider::{Echo, ModelEvent, ModelMessage, ModelRequest, Provider, ProviderError};
pub use service::{RunError, Runs};
pub use upkeep::KEY_LIFETIME;

#[cfg(test)]
mod kill_tests;
#[cfg(test)]
mod tests;
