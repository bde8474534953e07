//! Services of this user: units of systemd's user manager and agents of launchd. Their text, their
//! files, and telling the manager about them.

mod file;
mod launchd;
mod manager;
pub mod notify;
mod systemd;

use std::path::PathBuf;

pub use file::{FileError, ours, remove, write};
pub use manager::{Manager, Reached, Verb, shell_word};

/// What a service runs, and how its manager treats it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name, without an ending.
    pub name: String,
    /// One line about it.
    pub description: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables that it gets.
    pub environment: Vec<(String, String)>,
    /// What every file that we write for it says, and nobody else's does.
    pub mark: &'static str,
    /// Exit codes that need a person: after them it is not started again.
    pub needs_a_person: &'static [u8],
    /// Seconds between two signs of life, where it gives any.
    pub watchdog_seconds: Option<u32>,
    /// Seconds that its end may take.
    pub stop_seconds: u32,
}
