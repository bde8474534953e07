//! Where a value came from.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// Typed on the command line.
    Flag,
    /// A key of our own configuration.
    Own(String),
    /// A line of a configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Nobody said anything.
    Default,
}

impl Source {
    /// A line of a file.
    pub(super) fn line(path: &Path, line: usize) -> Self {
        Self::File {
            path: path.to_owned(),
            line,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("command line"),
            Self::Own(key) => f.write_str(key),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sourced<T> {
    pub(super) value: T,
    pub(super) source: Source,
}

/// One effective setting, as `explain` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The hop it belongs to, as it was named.
    pub hop: String,
    /// The keyword as the manual spells it.
    pub keyword: &'static str,
    /// The value in effect, tokens expanded.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

/// Something that was seen and is not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The keyword as it was written.
    pub keyword: String,
    /// What it means for the user.
    pub text: String,
    /// Where it stands.
    pub source: Source,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.source, self.keyword, self.text)
    }
}
