//! ssh_config as ssh reads it: files and flags in, a [`TunnelSpec`] out, each value with the place it
//! came from.
//!
//! [`resolve`] is pure but for reading the files that [`Env`] names. What ssh would do and we do not
//! is never skipped in silence: it is an error with file and line where it could change who is
//! reached or how they are trusted, and a [`Notice`] where it could not.

mod algorithm_list;
mod compare;
mod env;
mod error;
mod exec;
mod expand;
mod files;
mod flags;
mod forwards;
mod glob;
mod hop;
mod match_block;
mod options;
mod read;
mod resolve;
mod source;
mod tokens;
mod told;
mod value;
mod values;

pub use compare::{Difference, differences};
pub use env::Env;
pub use error::SshConfigError;
pub use flags::{ConfigFile, Flags, OwnSetting};
pub use source::{Notice, Setting, Source};

pub(crate) use expand::proxy_command as expand_proxy_command;

use super::spec::TunnelSpec;
use super::target::SshTarget;

/// A target after ssh_config, flags and defaults were folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// What to connect to, and how.
    pub spec: TunnelSpec,
    /// Every effective setting of every hop, with its source.
    pub explain: Vec<Setting>,
    /// Options that were seen and are not applied, each once.
    pub notices: Vec<Notice>,
    /// A `Host` line names the target itself, not only with a pattern.
    pub is_named: bool,
}

/// Folds flags, ssh_config and defaults for `target` and every jump host on the way.
///
/// Reads the configuration files each time, so a change is seen at the next connect. Errors name the
/// file and line; nothing was connected or changed then.
pub fn resolve(target: &SshTarget, flags: &Flags, env: &Env) -> Result<Resolved, SshConfigError> {
    resolve::resolve(target, flags, env)
}

#[cfg(test)]
mod tests;
