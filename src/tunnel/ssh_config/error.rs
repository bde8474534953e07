//! Why ssh_config cannot be followed. Wrong configuration, exit code 2.

use std::io;
use std::path::PathBuf;

use super::source::Source;
use crate::tunnel::target::TargetError;

/// Why ssh_config cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum SshConfigError {
    /// A file is there and cannot be read, or was named and is missing.
    #[error("cannot read the ssh configuration {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else could have written it.
    #[error("{} can be changed by other users, so it is not followed", file.display())]
    Permissions {
        /// The file.
        file: PathBuf,
    },
    /// A line that is wrong.
    #[error("{at}: {what}")]
    Line {
        /// Where.
        at: Source,
        /// What is wrong with it.
        what: String,
    },
    /// A line that ssh obeys and we cannot.
    #[error("{at}: {what}")]
    Unsupported {
        /// Where.
        at: Source,
        /// What it asks for.
        what: String,
        /// What to write instead.
        next: String,
    },
    /// `Include` goes round in a circle, or nearly.
    #[error("{at}: more than 16 files include one another")]
    TooDeep {
        /// The `Include` that was not followed.
        at: Source,
    },
    /// A jump host cannot be understood.
    #[error("{at}: the jump host \"{jump}\" cannot be used: {error}")]
    Jump {
        /// Where it was named.
        at: Source,
        /// As written.
        jump: String,
        /// What is wrong with it.
        error: TargetError,
    },
    /// A host is reached through itself.
    #[error("{at}: {host} would be reached through itself")]
    JumpLoop {
        /// Where the jump was named.
        at: Source,
        /// The host.
        host: String,
    },
    /// More jump hosts than anybody needs.
    #[error("{at}: more than {max} servers on the way to {target}")]
    TooManyHops {
        /// Where the last jump was named.
        at: Source,
        /// The limit.
        max: usize,
        /// The destination.
        target: String,
    },
    /// Nobody knows who the user is.
    #[error("cannot tell {0}")]
    NoUser(&'static str),
}

impl SshConfigError {
    /// What to do about it; empty when the message says it all.
    pub fn next(&self) -> String {
        match self {
            Self::Read { file, .. } => {
                format!("make {} readable for you, or use -F none", file.display())
            }
            Self::Permissions { file } => format!(
                "run: chmod go-w {} (it must belong to you or to root)",
                file.display()
            ),
            Self::Line { .. } => "correct the line, or use -F to read another file".into(),
            Self::Unsupported { next, .. } => next.clone(),
            Self::TooDeep { .. } => "take the circle out of the Include lines".into(),
            Self::Jump { error, .. } => error.next().into(),
            Self::JumpLoop { host, .. } => {
                format!("give {host} its own Host block with `ProxyJump none`, above this line")
            }
            Self::TooManyHops { .. } => "name fewer jump hosts".into(),
            Self::NoUser(_) => "set HOME and USER".into(),
        }
    }
}
