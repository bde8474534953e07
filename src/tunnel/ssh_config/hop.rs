//! From what was said of one server to its description: defaults, tokens, and where each came from.

use super::algorithm_list;
use super::error::SshConfigError;
use super::expand::Tokens;
use super::forwards;
use super::options::{Options, Proxy, Said};
use super::resolve::line_error;
use super::source::{Notice, Setting, Source};
use super::told::{self, Told, mask, seconds, source_of, yes_no};
use crate::tunnel::algorithms::{
    self, Algorithms, CA_SIGNATURES, HOST_KEYS, KEX, MACS, PUBLIC_KEYS,
};
use crate::tunnel::connection::liveness;
use crate::tunnel::dial;
use crate::tunnel::spec::{
    AddKeysToAgent, AddressFamily, AuthMethod, HopSpec, REQUIRED_RSA_SIZE, RekeyLimit,
    STREAM_LOCAL_BIND_MASK, StrictHostKey, SuggestedForward, UpdateHostKeys,
};

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
        self.tell_proxy(&mut told);
        let spec = HopSpec {
            alias: self.alias.to_owned(),
            host: self.tokens.host.to_owned(),
            port: self.tokens.port,
            user: self.tokens.user.to_owned(),
            address_family: told.value(
                "AddressFamily",
                &options.address_family,
                AddressFamily::Any,
                told::family,
            ),
            bind_address: told.optional("BindAddress", &options.bind_address, "any", String::clone),
            connect_timeout: told
                .optional(
                    "ConnectTimeout",
                    &options.connect_timeout,
                    dial::CONNECT.as_secs(),
                    seconds,
                )
                .filter(|timeout| !timeout.is_zero()),
            tcp_keepalive: told.switch("TCPKeepAlive", &options.tcp_keepalive, true),
            identity_files: self.identities(&mut told)?,
            certificate_files: self.certificates(&mut told)?,
            identities_only: told.switch("IdentitiesOnly", &options.identities_only, false),
            agent: self.agent(&mut told)?,
            known_hosts: self.known_hosts(&mut told)?,
            host_key_alias: told.optional(
                "HostKeyAlias",
                &options.host_key_alias,
                "none",
                String::clone,
            ),
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
            rekey_limit: told.value(
                "RekeyLimit",
                &options.rekey_limit,
                RekeyLimit::default(),
                told::rekey_limit,
            ),
            compression: told.switch("Compression", &options.compression, false),
            connection_attempts: told.number("ConnectionAttempts", &options.connection_attempts, 1),
            proxy_command: self.proxy_command(),
            alive_interval: told.optional(
                "ServerAliveInterval",
                &options.alive_interval,
                liveness::INTERVAL.as_secs(),
                seconds,
            ),
            alive_count_max: told.optional(
                "ServerAliveCountMax",
                &options.alive_count_max,
                liveness::COUNT_MAX,
                u32::to_string,
            ),
            auth_methods: self.auth_methods(&mut told),
            pubkey_algorithms: list(&mut told, notices, &PUBLIC_KEYS, &options.pubkey_algorithms)?,
            add_keys_to_agent: told.value(
                "AddKeysToAgent",
                &options.add_keys_to_agent,
                AddKeysToAgent::No,
                told::add_keys,
            ),
            password_prompts: told.number(
                "NumberOfPasswordPrompts",
                &options.password_prompts,
                DEFAULT_PASSWORD_PROMPTS,
            ),
            batch_mode: told.switch("BatchMode", &options.batch_mode, false),
            exit_on_forward_failure: told.optional(
                "ExitOnForwardFailure",
                &options.exit_on_forward_failure,
                "yes with --tunnel-only",
                yes_no,
            ),
            stream_local_bind_unlink: told.switch(
                "StreamLocalBindUnlink",
                &options.stream_local_bind_unlink,
                false,
            ),
            stream_local_bind_mask: told.value(
                "StreamLocalBindMask",
                &options.stream_local_bind_mask,
                STREAM_LOCAL_BIND_MASK,
                mask,
            ),
        };
        Ok(spec)
    }

    /// The `LocalForward` lines, as suggestions.
    pub(super) fn forwards(
        &self,
        explain: &mut Vec<Setting>,
    ) -> Result<Vec<SuggestedForward>, SshConfigError> {
        let options = self.options;
        let cleared = options.clear_all_forwardings.as_ref();
        if cleared.is_some_and(|said| said.value) {
            return Ok(Vec::new());
        }
        let mut told = Told {
            hop: self.alias,
            explain,
        };
        let mut suggestions = Vec::new();
        for said in &options.local_forwards {
            let forward = forwards::read(&said.value, &self.tokens)
                .map_err(|what| line_error(&said.source, what))?;
            told.tell(
                "LocalForward",
                forward.as_ssh_shows_it(),
                said.source.clone(),
            );
            suggestions.push(forward.suggestion(said.source.to_string()));
        }
        Ok(suggestions)
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
        let asks_dns = self.options.verify_host_key_dns.as_ref();
        let is_default = is_default && !asks_dns.is_some_and(|said| said.value);
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

    /// Both ways round, since the first of both counts.
    fn tell_proxy(&self, told: &mut Told<'_>) {
        let (jump, command) = match self.proxy.as_ref().map(|said| &said.value) {
            Some(Proxy::Jump(jumps)) => (jumps.join(","), "none".to_owned()),
            Some(Proxy::Command(command)) => ("none".to_owned(), command.clone()),
            Some(Proxy::NoJump | Proxy::NoCommand) | None => ("none".to_owned(), "none".to_owned()),
        };
        told.tell("ProxyJump", jump, source_of(self.proxy));
        told.tell("ProxyCommand", command, source_of(self.proxy));
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
            told.switch(keyword, said, true);
        }
        let preferred = told.optional(
            "PreferredAuthentications",
            &options.preferred_authentications,
            ALL.map(|(name, _)| name).join(","),
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
        told.tell(kind.keyword, kind.default.join(","), Source::Default);
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
