//! What the resolver may know of the machine it runs on, as values, so that tests have their own.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::error::SshConfigError;

/// The system's own configuration directory.
const SYSTEM_DIRECTORY: &str = "/etc/ssh";

/// The surroundings of a run.
#[derive(Clone)]
pub struct Env {
    /// The home directory: `~` and `%d`.
    pub home: PathBuf,
    /// The login name here: `%u`, and the login name there when nothing was said.
    pub local_user: String,
    /// The numeric user id: `%i`.
    pub uid: u32,
    /// This machine's name with its domain: `%l`.
    pub host_name: String,
    /// `~/.ssh/config`.
    pub user_config: PathBuf,
    /// `/etc/ssh/ssh_config`; its directory holds the relative includes of system files and the
    /// system's known hosts.
    pub system_config: PathBuf,
    /// Environment variables, for `${NAME}`.
    pub vars: HashMap<String, String>,
}

impl fmt::Debug for Env {
    /// Leaves the environment out: it holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env")
            .field("home", &self.home)
            .field("local_user", &self.local_user)
            .finish_non_exhaustive()
    }
}

impl Env {
    /// The surroundings of this process. `HOME` wins over the password file, so that a run can be
    /// given another home.
    pub fn of_process() -> Result<Self, SshConfigError> {
        let vars: HashMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let (uid, account) = account();
        let home = vars
            .get("HOME")
            .map(PathBuf::from)
            .filter(|home| home.is_absolute())
            .or_else(|| account.as_ref().map(|(_, home)| home.clone()))
            .ok_or(SshConfigError::NoUser("your home directory"))?;
        let local_user = account
            .map(|(name, _)| name)
            .or_else(|| vars.get("USER").or_else(|| vars.get("USERNAME")).cloned())
            .ok_or(SshConfigError::NoUser("your login name"))?;
        Ok(Self {
            user_config: home.join(".ssh/config"),
            home,
            local_user,
            uid,
            host_name: gethostname::gethostname().to_string_lossy().into_owned(),
            system_config: Path::new(SYSTEM_DIRECTORY).join("ssh_config"),
            vars,
        })
    }

    /// The user's shell; `/bin/sh` when the environment names none.
    pub fn shell(&self) -> &str {
        let named = self.vars.get("SHELL").map(String::as_str);
        named.filter(|shell| !shell.is_empty()).unwrap_or("/bin/sh")
    }

    /// `/etc/ssh`.
    pub(super) fn system_directory(&self) -> &Path {
        self.system_config
            .parent()
            .unwrap_or(Path::new(SYSTEM_DIRECTORY))
    }
}

#[cfg(unix)]
fn account() -> (u32, Option<(String, PathBuf)>) {
    let uid = nix::unistd::getuid();
    let account = nix::unistd::User::from_uid(uid).ok().flatten();
    (uid.as_raw(), account.map(|user| (user.name, user.dir)))
}

/// Another user's home directory.
#[cfg(unix)]
pub(super) fn home_of(user: &str) -> Option<PathBuf> {
    let account = nix::unistd::User::from_name(user).ok().flatten();
    account.map(|account| account.dir)
}

#[cfg(not(unix))]
pub(super) fn home_of(_: &str) -> Option<PathBuf> {
    None
}

#[cfg(not(unix))]
fn account() -> (u32, Option<(String, PathBuf)>) {
    (0, None)
}
