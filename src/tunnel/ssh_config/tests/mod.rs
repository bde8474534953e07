//! What a person would notice, told by whole files; the last part compares with the real ssh.

mod files;
mod jumps;
mod matching;
mod values;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::tunnel::spec::{
    AddressFamily, AgentChoice, AuthMethod, HopSpec, IdentityFile, StrictHostKey, UpdateHostKeys,
};

/// A home of its own, with a user file and a system file.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) env: Env,
}

impl World {
    pub(super) fn new(user_config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let env = Env {
            user_config: home.join(".ssh/config"),
            system_config: dir.path().join("etc/ssh_config"),
            home,
            local_user: "me".into(),
            uid: nix::unistd::getuid().as_raw(),
            host_name: "laptop.lan".into(),
            vars: [("SSH_KEYS".to_owned(), "/keys".to_owned())].into(),
        };
        let world = Self { dir, env };
        world.write("home/.ssh/config", user_config);
        world
    }

    /// Writes a file below the temporary directory, owner-only.
    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(super) fn resolve(&self, target: &str) -> Result<Resolved, SshConfigError> {
        self.resolve_with(target, &Flags::default())
    }

    pub(super) fn resolve_with(
        &self,
        target: &str,
        flags: &Flags,
    ) -> Result<Resolved, SshConfigError> {
        resolve(&target.parse().unwrap(), flags, &self.env)
    }

    /// The destination.
    pub(super) fn hop(&self, target: &str) -> HopSpec {
        let resolved = self.resolve(target).unwrap();
        resolved.spec.destination().unwrap().clone()
    }

    /// The error, with the user file as `CONFIG`.
    pub(super) fn error(&self, target: &str) -> String {
        let error = self.resolve(target).unwrap_err();
        assert!(!error.next().is_empty());
        error
            .to_string()
            .replace(&self.env.user_config.display().to_string(), "CONFIG")
    }
}

pub(super) fn setting<'a>(resolved: &'a Resolved, keyword: &str) -> &'a Setting {
    let found = resolved.explain.iter().rfind(|s| s.keyword == keyword);
    found.unwrap_or_else(|| panic!("no {keyword}"))
}
