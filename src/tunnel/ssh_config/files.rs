//! The files of a hop: keys, certificates, the agent's socket, known hosts; tokens expanded.

use std::path::{Path, PathBuf};

use super::error::SshConfigError;
use super::expand;
use super::hop::Hop;
use super::options::Said;
use super::resolve::line_error;
use super::source::Source;
use super::told::{Told, source_of};
use crate::tunnel::spec::{AgentChoice, IdentityFile, KnownHostsFiles};

/// The key files that ssh tries when none is named, in its order.
const DEFAULT_IDENTITIES: [&str; 5] = [
    "id_rsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
];

impl Hop<'_> {
    fn path(&self, text: &str, source: &Source) -> Result<PathBuf, SshConfigError> {
        self.tokens
            .path(text)
            .map_err(|what| line_error(source, what))
    }

    pub(super) fn identities(
        &self,
        told: &mut Told<'_>,
    ) -> Result<Vec<IdentityFile>, SshConfigError> {
        if self.options.identity_files.is_empty() {
            return Ok(DEFAULT_IDENTITIES
                .iter()
                .map(|name| {
                    let path = self.tokens.env.home.join(".ssh").join(name);
                    told.tell("IdentityFile", path.display(), Source::Default);
                    IdentityFile { path, named: false }
                })
                .collect());
        }
        let mut files = Vec::new();
        for said in &self.options.identity_files {
            if said.value.eq_ignore_ascii_case("none") {
                told.tell("IdentityFile", "none", said.source.clone());
                continue;
            }
            let path = self.path(&said.value, &said.source)?;
            told.tell("IdentityFile", path.display(), said.source.clone());
            files.push(IdentityFile { path, named: true });
        }
        Ok(files)
    }

    pub(super) fn certificates(&self, told: &mut Told<'_>) -> Result<Vec<PathBuf>, SshConfigError> {
        let mut files = Vec::new();
        if self.options.certificate_files.is_empty() {
            told.tell("CertificateFile", "none", Source::Default);
        }
        for said in &self.options.certificate_files {
            if said.value.eq_ignore_ascii_case("none") {
                told.tell("CertificateFile", "none", said.source.clone());
                continue;
            }
            let path = self.path(&said.value, &said.source)?;
            told.tell("CertificateFile", path.display(), said.source.clone());
            files.push(path);
        }
        Ok(files)
    }

    pub(super) fn agent(&self, told: &mut Told<'_>) -> Result<AgentChoice, SshConfigError> {
        let Some(said) = &self.options.identity_agent else {
            told.tell("IdentityAgent", "SSH_AUTH_SOCK", Source::Default);
            return Ok(AgentChoice::Environment);
        };
        let choice = match said.value.as_str() {
            "SSH_AUTH_SOCK" => AgentChoice::Environment,
            none if none.eq_ignore_ascii_case("none") => AgentChoice::Off,
            // The older form, a variable without braces. Unset means no agent, as in ssh.
            variable if variable.starts_with('$') && !variable.starts_with("${") => {
                let name = variable.trim_start_matches('$');
                self.tokens
                    .env
                    .vars
                    .get(name)
                    .map_or(AgentChoice::Off, |path| AgentChoice::Socket(path.into()))
            }
            path => AgentChoice::Socket(self.path(path, &said.source)?),
        };
        let shown = match &choice {
            AgentChoice::Environment => "SSH_AUTH_SOCK".to_owned(),
            AgentChoice::Off => "none".to_owned(),
            AgentChoice::Socket(path) => path.display().to_string(),
        };
        told.tell("IdentityAgent", shown, said.source.clone());
        Ok(choice)
    }

    pub(super) fn known_hosts(
        &self,
        told: &mut Told<'_>,
    ) -> Result<KnownHostsFiles, SshConfigError> {
        let env = self.tokens.env;
        let both = |directory: &Path, names: [&str; 2]| names.map(|n| directory.join(n)).to_vec();
        let users = both(&env.home.join(".ssh"), ["known_hosts", "known_hosts2"]);
        let global = both(
            env.system_directory(),
            ["ssh_known_hosts", "ssh_known_hosts2"],
        );
        let options = self.options;
        Ok(KnownHostsFiles {
            user: self.files(told, "UserKnownHostsFile", &options.user_known_hosts, users)?,
            global: self.files(
                told,
                "GlobalKnownHostsFile",
                &options.global_known_hosts,
                global,
            )?,
            revoked: self.files(told, "RevokedHostKeys", &options.revoked_host_keys, vec![])?,
        })
    }

    fn files(
        &self,
        told: &mut Told<'_>,
        keyword: &'static str,
        said: &Said<Vec<String>>,
        default: Vec<PathBuf>,
    ) -> Result<Vec<PathBuf>, SshConfigError> {
        let files = match said {
            None => default,
            Some(said) => said
                .value
                .iter()
                .map(|file| match keyword {
                    // ssh knows only the tilde there.
                    "GlobalKnownHostsFile" => expand::tilde(file, self.tokens.env)
                        .map(PathBuf::from)
                        .map_err(|what| line_error(&said.source, what)),
                    _ => self.path(file, &said.source),
                })
                .collect::<Result<_, _>>()?,
        };
        let mut shown: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
        if shown.is_empty() {
            shown.push("none".to_owned());
        }
        told.tell(keyword, shown.join(" "), source_of(said));
        Ok(files)
    }
}
