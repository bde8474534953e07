//! `gateway.reload.*` and `logging.*`: what a daemon that is left alone does by itself.

/// `gateway.reload.mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReloadMode {
    /// The file is read again on SIGHUP only.
    Off,
    /// A change of the file takes effect by itself, as far as it can without a restart.
    #[default]
    Hybrid,
}

/// `logging.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severe level that is written: error, warn, info, debug or trace.
    pub level: String,
    /// A file of this many bytes is put aside.
    pub max_file_bytes: u64,
    /// So many files are kept, the one being written included.
    pub max_files: u32,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            max_file_bytes: 8 * 1024 * 1024,
            max_files: 5,
        }
    }
}
