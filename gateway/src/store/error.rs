//! What the store can fail with.

use std::path::PathBuf;

/// A failure of the store. None of them leaves half a change behind.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{} cannot be prepared: {source}", path.display())]
    Prepare {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{} is not a SQLite database; move it away, or put a backup in its place, then start again",
        path.display()
    )]
    NotADatabase { path: PathBuf },
    #[error(
        "{} is missing but its write-ahead log {} holds data; put the database back beside it, or move the log away to start empty",
        path.display(), log.display()
    )]
    LogWithoutDatabase { path: PathBuf, log: PathBuf },
    #[error(
        "{} is damaged ({detail}); restore a backup with clawline-gateway restore",
        path.display()
    )]
    Corrupt { path: PathBuf, detail: String },
    #[error(
        "{} was written by a newer clawline-gateway (schema {found}, this one knows {known}); run that version",
        path.display()
    )]
    Newer {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    #[error("{} cannot be opened: {detail}", path.display())]
    Open { path: PathBuf, detail: String },
    /// Writes are refused from now on.
    #[error("the store is read-only: {why}")]
    ReadOnly { why: String },
    /// The disk did not take a write; nothing was committed.
    #[error("the disk did not take a write: {detail}")]
    Disk { detail: String },
    /// Nothing was committed; the next try may succeed.
    #[error("the disk is full; make room, then try again")]
    Full,
    /// Too many callers, or no descriptor left for one more connection; try again.
    #[error("the store is busy; try again")]
    Busy,
    #[error("the label \"{label}\" is used by another session")]
    LabelTaken { label: String },
    /// A row cannot be read as what it should be.
    #[error("a stored {what} cannot be read: {detail}")]
    BadRow { what: &'static str, detail: String },
    #[error("the store failed: {0}")]
    Sql(#[source] sqlx::Error),
}

impl StoreError {
    /// True for what goes away without a restart: the same call may succeed later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Busy | Self::Full)
    }
}
