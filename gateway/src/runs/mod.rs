//! Runs of the model: accepted once, answered once, streamed while they go.

mod config;
mod event;
mod model;

pub use config::{
    AgentConfig, AgentsConfig, ModelConfig, ModelsConfig, ProviderConfig, ProviderKind,
};
pub use event::{RunEvent, RunStep};
pub use model::{
    Accepted, ActiveRun, BadRunId, MAX_RUN_ID_CHARS, Run, RunId, RunKind, RunOptions, RunOutcome,
    RunState, Submit, SubmitStatus,
};
