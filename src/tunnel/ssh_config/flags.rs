//! What was typed on the command line; only that overrides ssh_config.

use std::path::PathBuf;

/// `-F`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ConfigFile {
    /// `~/.ssh/config`, then `/etc/ssh/ssh_config`.
    #[default]
    Standard,
    /// `-F none`: no file at all.
    None,
    /// `-F FILE`: this one and nothing else.
    Only(PathBuf),
}

impl ConfigFile {
    /// Reads the value of `-F`.
    pub fn from_flag(value: &str) -> Self {
        if value.eq_ignore_ascii_case("none") {
            Self::None
        } else {
            Self::Only(value.into())
        }
    }
}

/// An option of ssh_config that our own configuration sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSetting {
    /// The keyword.
    pub keyword: &'static str,
    /// The value, without ssh_config's quotes.
    pub value: String,
    /// Where it stands, for messages: the key of our configuration.
    pub at: String,
}

/// The connection options of the command line. As in ssh they apply to the destination alone; jump
/// hosts follow their own blocks of ssh_config.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flags {
    /// `-F`; holds for jump hosts, too.
    pub config: ConfigFile,
    /// `-p`.
    pub port: Option<u16>,
    /// `-i`, in order.
    pub identities: Vec<String>,
    /// `-J`.
    pub jump: Option<String>,
    /// `-o KEY=VALUE` or `-o "KEY VALUE"`, in order; the first of a key wins.
    pub options: Vec<String>,
    /// What our own configuration says of this host; the command line wins, ssh_config does not.
    pub own: Vec<OwnSetting>,
    /// What our own configuration says where ssh_config is silent.
    pub fallback: Vec<OwnSetting>,
    /// Run the commands of `Match exec`, as our own configuration allows.
    pub allow_match_exec: bool,
    /// `--accept-new-host-key`; holds for jump hosts, too.
    pub accept_new_host_key: bool,
}
