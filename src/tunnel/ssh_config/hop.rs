//! From what was said of one server to its description: defaults, tokens, and where each came from.

use std::path::{Path, PathBuf};

use super::algorithm_list;
use super::error::SshConfigError;
use super::expand::Tokens;
use super::options::{Options, Proxy, Said};
use super::resolve::line_error;
use super::source::{Notice, Setting, Source, Sourced};
use crate::tunnel::algorithms::{
    self, Algorithms, CA_SIGNATURES, HOST_KEYS, KEX, MACS, PUBLIC_KEYS,
};
use crate::tunnel::spec::{
    AddKeysToAgent, AddressFamily, AgentChoice, AuthMethod, HopSpec, IdentityFile, KnownHostsFiles,
    REQUIRED_RSA_SIZE, RekeyLimit, STREAM_LOCAL_BIND_MASK, StrictHostKey, UpdateHostKeys,
};

/// The key files that ssh tries when none is named, in its order.
const DEFAULT_IDENTITIES: [&str; 5] = [
    "id_rsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
];

/// What ssh asks for when nothing was said.
const DEFAULT_PASSWORD_PROMPTS: u32 = 3;

/// One server, ready to be turned into its description.
pub(super) struct Hop<'a> {
    pub(super) alias: &'a str,
    pub(super) options: &'a Options,
    pub(super) tokens: Tokens<'a>,
    pub(super) proxy: &'a Said<Proxy>,
    pub(super) accept_new: bool,
}

impl Hop<'_> {
    /// The description; every value in effect goes to `explain`.
    pub(super) fn spec(
        &self,
        explain: &mut Vec<Setting>,
        notices: &mut Vec<Notice>,
    ) -> Result<HopSpec, SshConfigError> {
        let options = self.options;
        let mut told = Told {
            hop: self.alias,
            explain,
        };
        told.tell("HostName", self.tokens.host, source_of(&options.host_name));
        told.tell("Port", self.tokens.port, source_of(&options.port));
        told.tell("User", self.tokens.user, source_of(&options.user));
        if let Some(Sourced { value, source }) = self.proxy {
            let text = match value {
                Proxy::Jump(jumps) => jumps.join(","),
                Proxy::Command(_) | Proxy::None => "none".to_owned(),
            };
            told.tell("ProxyJump", text, source.clone());
        }
        let spec = HopSpec {
            alias: self.alias.to_owned(),
            host: self.tokens.host.to_owned(),
            port: self.tokens.port,
            user: self.tokens.user.to_owned(),
            address_family: told.value("AddressFamily", &options.address_family, |family| {
                match family {
                    AddressFamily::Any => "any",
                    AddressFamily::Inet => "inet",
                    AddressFamily::Inet6 => "inet6",
                }
                .to_owned()
            }),
            bind_address: told.optional("BindAddress", &options.bind_address, String::clone),
            connect_timeout: told
                .optional("ConnectTimeout", &options.connect_timeout, seconds)
                .filter(|timeout| !timeout.is_zero()),
            tcp_keepalive: told.switch("TCPKeepAlive", &options.tcp_keepalive, true),
            identity_files: self.identities(&mut told)?,
            certificate_files: self.certificates(&mut told)?,
            identities_only: told.switch("IdentitiesOnly", &options.identities_only, false),
            agent: self.agent(&mut told)?,
            known_hosts: self.known_hosts(&mut told)?,
            host_key_alias: told.optional("HostKeyAlias", &options.host_key_alias, String::clone),
            strict_host_key: self.strict(&mut told),
            hash_known_hosts: told.switch("HashKnownHosts", &options.hash_known_hosts, false),
            check_host_ip: told.switch("CheckHostIP", &options.check_host_ip, false),
            update_host_keys: self.update_host_keys(&mut told),
            host_key_algorithms: list(
                &mut told,
                notices,
                &HOST_KEYS,
                &options.host_key_algorithms,
            )?,
            ca_signature_algorithms: list(
                &mut told,
                notices,
                &CA_SIGNATURES,
                &options.ca_signature_algorithms,
            )?,
            required_rsa_size: told.number(
                "RequiredRSASize",
                &options.required_rsa_size,
                REQUIRED_RSA_SIZE,
            ),
            kex: list(&mut told, notices, &KEX, &options.kex)?,
            ciphers: list(&mut told, notices, &algorithms::ciphers(), &options.ciphers)?,
            macs: list(&mut told, notices, &MACS, &options.macs)?,
            rekey_limit: told.value("RekeyLimit", &options.rekey_limit, show_rekey),
            compression: told.switch("Compression", &options.compression, false),
            connection_attempts: told.number("ConnectionAttempts", &options.connection_attempts, 1),
            proxy_command: self.proxy_command(),
            alive_interval: told.optional("ServerAliveInterval", &options.alive_interval, seconds),
            alive_count_max: told.optional(
                "ServerAliveCountMax",
                &options.alive_count_max,
                u32::to_string,
            ),
            auth_methods: self.auth_methods(&mut told),
            pubkey_algorithms: list(&mut told, notices, &PUBLIC_KEYS, &options.pubkey_algorithms)?,
            add_keys_to_agent: told.value(
                "AddKeysToAgent",
                &options.add_keys_to_agent,
                show_add_keys,
            ),
            password_prompts: told
                .optional(
                    "NumberOfPasswordPrompts",
                    &options.password_prompts,
                    u32::to_string,
                )
                .unwrap_or(DEFAULT_PASSWORD_PROMPTS),
            batch_mode: told.switch("BatchMode", &options.batch_mode, false),
            exit_on_forward_failure: told.optional(
                "ExitOnForwardFailure",
                &options.exit_on_forward_failure,
                yes_no,
            ),
            stream_local_bind_unlink: told.switch(
                "StreamLocalBindUnlink",
                &options.stream_local_bind_unlink,
                false,
            ),
            stream_local_bind_mask: told
                .optional(
                    "StreamLocalBindMask",
                    &options.stream_local_bind_mask,
                    |mask| format!("{mask:04o}"),
                )
                .unwrap_or(STREAM_LOCAL_BIND_MASK),
        };
        Ok(spec)
    }

    fn path(&self, text: &str, source: &Source) -> Result<PathBuf, SshConfigError> {
        self.tokens
            .path(text)
            .map_err(|what| line_error(source, what))
    }

    fn identities(&self, told: &mut Told<'_>) -> Result<Vec<IdentityFile>, SshConfigError> {
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

    fn certificates(&self, told: &mut Told<'_>) -> Result<Vec<PathBuf>, SshConfigError> {
        let mut files = Vec::new();
        for said in &self.options.certificate_files {
            let path = self.path(&said.value, &said.source)?;
            told.tell("CertificateFile", path.display(), said.source.clone());
            files.push(path);
        }
        Ok(files)
    }

    fn agent(&self, told: &mut Told<'_>) -> Result<AgentChoice, SshConfigError> {
        let Some(said) = &self.options.identity_agent else {
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

    fn known_hosts(&self, told: &mut Told<'_>) -> Result<KnownHostsFiles, SshConfigError> {
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
            revoked: match options.revoked_host_keys {
                None => Vec::new(),
                Some(_) => {
                    self.files(told, "RevokedHostKeys", &options.revoked_host_keys, vec![])?
                }
            },
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
                .map(|file| self.path(file, &said.source))
                .collect::<Result<_, _>>()?,
        };
        let mut shown: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
        if shown.is_empty() {
            shown.push("none".to_owned());
        }
        told.tell(keyword, shown.join(" "), source_of(said));
        Ok(files)
    }

    fn strict(&self, told: &mut Told<'_>) -> StrictHostKey {
        let (value, source) = match &self.options.strict_host_key {
            _ if self.accept_new => (StrictHostKey::AcceptNew, Source::Flag),
            Some(said) => (said.value, said.source.clone()),
            None => (StrictHostKey::default(), Source::Default),
        };
        let shown = match value {
            StrictHostKey::Yes => "yes",
            StrictHostKey::Ask => "ask",
            StrictHostKey::AcceptNew => "accept-new",
            StrictHostKey::No => "no",
        };
        told.tell("StrictHostKeyChecking", shown, source);
        value
    }

    /// As in ssh: only the default file is kept up to date without being asked.
    fn update_host_keys(&self, told: &mut Told<'_>) -> UpdateHostKeys {
        let is_default = self
            .options
            .user_known_hosts
            .as_ref()
            .is_none_or(|said| said.value == ["~/.ssh/known_hosts"]);
        let (value, source) = match &self.options.update_host_keys {
            Some(said) => (said.value, said.source.clone()),
            None if is_default => (UpdateHostKeys::Yes, Source::Default),
            None => (UpdateHostKeys::No, Source::Default),
        };
        let shown = match value {
            UpdateHostKeys::Yes => "yes",
            UpdateHostKeys::Ask => "ask",
            UpdateHostKeys::No => "no",
        };
        told.tell("UpdateHostKeys", shown, source);
        value
    }

    fn proxy_command(&self) -> Option<String> {
        match self.proxy.as_ref().map(|said| &said.value) {
            Some(Proxy::Command(command)) => Some(command.clone()),
            _ => None,
        }
    }

    fn auth_methods(&self, told: &mut Told<'_>) -> Vec<AuthMethod> {
        const ALL: [(&str, AuthMethod); 3] = [
            ("publickey", AuthMethod::PublicKey),
            ("keyboard-interactive", AuthMethod::KeyboardInteractive),
            ("password", AuthMethod::Password),
        ];
        let options = self.options;
        let allowed = |method: AuthMethod| {
            let said = match method {
                AuthMethod::PublicKey => &options.public_key,
                AuthMethod::KeyboardInteractive => &options.keyboard_interactive,
                AuthMethod::Password => &options.password,
            };
            said.as_ref().is_none_or(|said| said.value)
        };
        for (keyword, said) in [
            ("PubkeyAuthentication", &options.public_key),
            (
                "KbdInteractiveAuthentication",
                &options.keyboard_interactive,
            ),
            ("PasswordAuthentication", &options.password),
        ] {
            if said.is_some() {
                told.switch(keyword, said, true);
            }
        }
        let preferred = told.optional(
            "PreferredAuthentications",
            &options.preferred_authentications,
            String::clone,
        );
        let names: Vec<&str> = match &preferred {
            Some(list) => list.split(',').map(str::trim).collect(),
            None => ALL.iter().map(|(name, _)| *name).collect(),
        };
        names
            .into_iter()
            .filter_map(|name| ALL.iter().find(|(known, _)| *known == name))
            .map(|(_, method)| *method)
            .filter(|method| allowed(*method))
            .collect()
    }
}

/// An explicit list of algorithms, over what we speak. What we do not speak is told once.
fn list(
    told: &mut Told<'_>,
    notices: &mut Vec<Notice>,
    kind: &Algorithms,
    said: &Said<String>,
) -> Result<Option<Vec<String>>, SshConfigError> {
    let Some(said) = said else {
        return Ok(None);
    };
    let chosen =
        algorithm_list::choose(kind, &said.value).map_err(|what| line_error(&said.source, what))?;
    if !chosen.left_out.is_empty() {
        let left_out = crate::layer::printable(&chosen.left_out.join(", "), 400);
        notices.push(Notice {
            keyword: kind.keyword.to_owned(),
            text: format!("is applied without {left_out}"),
            source: said.source.clone(),
        });
    }
    told.tell(kind.keyword, chosen.names.join(","), said.source.clone());
    Ok(Some(chosen.names))
}

fn yes_no(value: &bool) -> String {
    if *value { "yes" } else { "no" }.to_owned()
}

fn show_rekey(limit: &RekeyLimit) -> String {
    let bytes = limit
        .bytes
        .map_or_else(|| "default".to_owned(), |bytes| bytes.to_string());
    let time = limit
        .time
        .map_or_else(|| "none".to_owned(), |time| seconds(&time));
    format!("{bytes} {time}")
}

fn show_add_keys(choice: &AddKeysToAgent) -> String {
    match choice {
        AddKeysToAgent::No => "no".to_owned(),
        AddKeysToAgent::Ask => "ask".to_owned(),
        AddKeysToAgent::Yes { lifetime: None } => "yes".to_owned(),
        AddKeysToAgent::Yes {
            lifetime: Some(time),
        } => seconds(time),
        AddKeysToAgent::Confirm { lifetime: None } => "confirm".to_owned(),
        AddKeysToAgent::Confirm {
            lifetime: Some(time),
        } => format!("confirm {}", seconds(time)),
    }
}

pub(super) fn source_of<T>(said: &Said<T>) -> Source {
    said.as_ref()
        .map_or(Source::Default, |said| said.source.clone())
}

fn seconds(time: &std::time::Duration) -> String {
    time.as_secs().to_string()
}

/// Collects what is in effect.
struct Told<'a> {
    hop: &'a str,
    explain: &'a mut Vec<Setting>,
}

impl Told<'_> {
    fn tell(&mut self, keyword: &'static str, value: impl std::fmt::Display, source: Source) {
        self.explain.push(Setting {
            hop: self.hop.to_owned(),
            keyword,
            value: value.to_string(),
            source,
        });
    }

    /// A value that shows only when it was said.
    fn optional<T: Clone>(
        &mut self,
        keyword: &'static str,
        said: &Said<T>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        let said = said.as_ref()?;
        self.tell(keyword, show(&said.value), said.source.clone());
        Some(said.value.clone())
    }

    /// A value with the default of its type.
    fn value<T: Clone + Default>(
        &mut self,
        keyword: &'static str,
        said: &Said<T>,
        show: impl Fn(&T) -> String,
    ) -> T {
        let value = said
            .as_ref()
            .map(|said| said.value.clone())
            .unwrap_or_default();
        self.tell(keyword, show(&value), source_of(said));
        value
    }

    fn number(&mut self, keyword: &'static str, said: &Said<u32>, default: u32) -> u32 {
        let value = said.as_ref().map_or(default, |said| said.value);
        self.tell(keyword, value, source_of(said));
        value
    }

    fn switch(&mut self, keyword: &'static str, said: &Said<bool>, default: bool) -> bool {
        let value = said.as_ref().map_or(default, |said| said.value);
        self.tell(keyword, yes_no(&value), source_of(said));
        value
    }
}
