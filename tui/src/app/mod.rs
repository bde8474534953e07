//! The full-screen app: one model, one closed list of messages that can change it, and effects that
//! the loop carries out.

mod approvals;
mod dialogs;
mod disk;
pub(crate) mod effect;
mod input;
#[cfg(feature = "demo")]
mod memory;
pub(crate) mod model;
pub(crate) mod msg;
pub(crate) mod overlay;
mod pages;
mod perform;
pub(crate) mod prompt;
mod run;
#[cfg(feature = "demo")]
pub(crate) mod script;
mod submit;
mod surface;
#[cfg(test)]
mod tests;
pub(crate) mod update;
pub(crate) mod view;

pub(crate) use run::{AppError, run};
