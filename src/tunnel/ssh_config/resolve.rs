//! The way to a target: what was said of each server, and through which jump hosts it goes.

use super::Resolved;
use super::env::Env;
use super::error::SshConfigError;
use super::expand::{self, Tokens};
use super::flags::Flags;
use super::hop::Hop;
use super::options::{Options, Proxy, first};
use super::read::Pass;
use super::source::{Notice, Setting, Source, Sourced};
use super::told::source_of;
use crate::look_alike;
use crate::tunnel::spec::{HopSpec, SuggestedForward, TunnelSpec};
use crate::tunnel::target::SshTarget;

/// The port of SSH.
pub(super) const DEFAULT_PORT: u16 = 22;

/// Most servers on the way, destination included.
const MAX_HOPS: usize = 8;

pub(super) fn resolve(
    target: &SshTarget,
    flags: &Flags,
    env: &Env,
) -> Result<Resolved, SshConfigError> {
    let mut way = Way {
        flags,
        env,
        target: target.shown(""),
        hops: Vec::new(),
        explain: Vec::new(),
        notices: Vec::new(),
        above: Vec::new(),
        local_forwards: Vec::new(),
        is_named: false,
    };
    way.go(target, &Asked::Destination, &Source::Flag)?;
    let host = way.hops.last().map_or("", |hop| hop.host.as_str());
    let shown = target.shown(host);
    Ok(Resolved {
        spec: TunnelSpec {
            target: shown,
            hops: way.hops,
            local_forwards: way.local_forwards,
        },
        explain: way.explain,
        notices: way.notices,
        is_named: way.is_named,
    })
}

/// Whom a hop is resolved for.
enum Asked {
    /// The target: the command line applies.
    Destination,
    /// A jump host, with the jumps before it if its user named any.
    Jump(Vec<String>),
}

/// The way to the target, as far as it is known.
struct Way<'a> {
    flags: &'a Flags,
    env: &'a Env,
    target: String,
    hops: Vec<HopSpec>,
    explain: Vec<Setting>,
    notices: Vec<Notice>,
    /// Host, port and user of the hops that are being resolved, destination first.
    above: Vec<(String, u16, String)>,
    local_forwards: Vec<SuggestedForward>,
    is_named: bool,
}

impl Way<'_> {
    /// Resolves `target` and, before it, whatever it is reached through. `named_at` is the place that
    /// named it.
    fn go(
        &mut self,
        target: &SshTarget,
        asked: &Asked,
        named_at: &Source,
    ) -> Result<(), SshConfigError> {
        let mut options = self.said_for(target, asked, named_at)?;
        self.is_named |= matches!(asked, Asked::Destination) && options.is_named;
        let host = dialled(&options, &target.host)?;
        let port = options
            .port
            .as_ref()
            .map_or(DEFAULT_PORT, |said| said.value);
        let user = self.user(&options, target, &host, port)?;
        let key = (host, port, user);
        if self.above.contains(&key) {
            return Err(SshConfigError::JumpLoop {
                at: named_at.clone(),
                host: target.host.clone(),
            });
        }
        if self.above.len() >= MAX_HOPS {
            return Err(SshConfigError::TooManyHops {
                at: named_at.clone(),
                max: MAX_HOPS,
                target: self.target.clone(),
            });
        }
        let mut next_door = String::new();
        let proxy = options.proxy.take();
        let tokens = Tokens {
            env: self.env,
            typed: &target.host,
            host: &key.0,
            port: key.1,
            user: &key.2,
            key_alias: options
                .host_key_alias
                .as_ref()
                .map_or(&target.host, |said| &said.value),
            jump: "",
        };
        self.above.push(key.clone());
        match &proxy {
            Some(Sourced {
                value: Proxy::Jump(jumps),
                source,
            }) => {
                // As ssh does: the last jump host is next to us, and the ones before are its own way.
                if let Some((last, before)) = jumps.split_last() {
                    let jump = parse_jump(last, &tokens, source)?;
                    next_door.clone_from(&jump.host);
                    let before = before
                        .iter()
                        .map(|text| tokens.expand(text, expand::IN_JUMPS))
                        .collect::<Result<_, _>>()
                        .map_err(|what| line_error(source, what))?;
                    self.go(&jump, &Asked::Jump(before), source)?;
                }
            }
            Some(Sourced {
                value: Proxy::Command(command),
                source,
            }) => check_command(command, &options, &tokens, source)?,
            Some(Sourced {
                value: Proxy::NoJump | Proxy::NoCommand,
                ..
            })
            | None => {}
        }
        self.above.pop();
        let tokens = Tokens {
            jump: &next_door,
            ..tokens
        };
        let hop = Hop {
            alias: &target.host,
            options: &options,
            tokens,
            proxy: &proxy,
            accept_new: self.flags.accept_new_host_key,
        };
        let spec = hop.spec(&mut self.explain, &mut self.notices)?;
        if matches!(asked, Asked::Destination) {
            self.local_forwards = hop.forwards(&mut self.explain)?;
        }
        self.hops.push(spec);
        for notice in options.notices {
            if !self.notices.contains(&notice) {
                self.notices.push(notice);
            }
        }
        Ok(())
    }

    /// Everything that was said for a host: command line, then files, twice when they ask for it.
    fn said_for(
        &self,
        target: &SshTarget,
        asked: &Asked,
        named_at: &Source,
    ) -> Result<Options, SshConfigError> {
        let mut options = Options::default();
        match asked {
            Asked::Destination => self.typed(&mut options)?,
            Asked::Jump(before) if before.is_empty() => {}
            Asked::Jump(before) => {
                first(&mut options.proxy, Proxy::Jump(before.clone()), named_at);
            }
        }
        if let Some(user) = &target.user {
            // What was typed is meant as it is.
            first(&mut options.user, user.replace('%', "%%"), named_at);
        }
        if let Some(port) = target.port {
            first(&mut options.port, port, named_at);
        }
        let mut pass = Pass {
            env: self.env,
            host: &target.host,
            original: &target.host,
            is_final: false,
            allow_exec: self.flags.allow_match_exec,
            wants_final: false,
            options: &mut options,
        };
        pass.read_all(self.flags)?;
        if pass.wants_final {
            let host = dialled(&options, &target.host)?;
            let source = options
                .host_name
                .take()
                .map_or(Source::Default, |said| said.source);
            options.host_name = Some(Sourced {
                value: host.replace('%', "%%"),
                source,
            });
            Pass {
                env: self.env,
                host: &host,
                original: &target.host,
                is_final: true,
                allow_exec: self.flags.allow_match_exec,
                wants_final: false,
                options: &mut options,
            }
            .read_all(self.flags)?;
        }
        if matches!(asked, Asked::Destination) {
            let mut pass = self.pass_of_flags(&mut options);
            for own in &self.flags.fallback {
                pass.apply_own(own)?;
            }
        }
        Ok(options)
    }

    /// The login name there, with its tokens; a name that was typed is doubled to stay as it is.
    fn user(
        &self,
        options: &Options,
        target: &SshTarget,
        host: &str,
        port: u16,
    ) -> Result<String, SshConfigError> {
        let Some(said) = &options.user else {
            return Ok(self.env.local_user.clone());
        };
        let key_alias = options.host_key_alias.as_ref();
        let tokens = Tokens {
            env: self.env,
            typed: &target.host,
            host,
            port,
            user: "",
            key_alias: key_alias.map_or(&target.host, |said| &said.value),
            jump: "",
        };
        tokens
            .expand_with_environment(&said.value, expand::IN_USER)
            .map_err(|what| line_error(&said.source, what))
    }

    /// For options that do not stand in a file.
    fn pass_of_flags<'a>(&'a self, options: &'a mut Options) -> Pass<'a> {
        Pass {
            env: self.env,
            host: "",
            original: "",
            is_final: false,
            allow_exec: false,
            wants_final: false,
            options,
        }
    }

    /// What the command line says of the destination.
    fn typed(&self, options: &mut Options) -> Result<(), SshConfigError> {
        let flags = self.flags;
        if let Some(port) = flags.port {
            first(&mut options.port, port, &Source::Flag);
        }
        for identity in &flags.identities {
            super::options::add(&mut options.identity_files, identity.clone(), &Source::Flag);
        }
        let mut pass = self.pass_of_flags(options);
        if let Some(jump) = &flags.jump {
            pass.apply_flag(&format!("ProxyJump={jump}"))?;
        }
        for option in &flags.options {
            pass.apply_flag(option)?;
        }
        for own in &flags.own {
            pass.apply_own(own)?;
        }
        Ok(())
    }
}

/// The name that is dialled: `HostName`, else the host as typed; lower case as in ssh, and in ASCII, in which
/// alone DNS knows it. A dot at its end stays, also as in ssh.
fn dialled(options: &Options, typed: &str) -> Result<String, SshConfigError> {
    let host = match &options.host_name {
        None => typed.to_owned(),
        Some(said) => {
            let host = expand::host_name(&said.value, typed)
                .map_err(|what| line_error(&said.source, what))?;
            // The same rules as for what is typed; brackets and ports have no place here.
            let bare = SshTarget {
                user: None,
                host: host.clone(),
                port: None,
            };
            let text = if host.contains(':') {
                format!("[{host}]")
            } else {
                host.clone()
            };
            match text.parse::<SshTarget>() {
                Ok(read) if read == bare => host,
                Ok(_) => {
                    return Err(line_error(
                        &said.source,
                        format!(
                            "\"{}\" is no host name",
                            crate::layer::printable(&host, 120)
                        ),
                    ));
                }
                Err(error) => return Err(line_error(&said.source, error.to_string())),
            }
        }
    };
    look_alike::looked_up(&host).ok_or_else(|| {
        line_error(
            &source_of(&options.host_name),
            format!(
                "\"{}\" is no host name",
                crate::layer::printable(&host, 120)
            ),
        )
    })
}

/// What of a `ProxyCommand` cannot be followed is said before anything is dialled.
fn check_command(
    command: &str,
    options: &Options,
    tokens: &Tokens<'_>,
    source: &Source,
) -> Result<(), SshConfigError> {
    if let Some(said) = options.proxy_use_fdpass.as_ref().filter(|said| said.value) {
        return Err(SshConfigError::Unsupported {
            at: said.source.clone(),
            what: "ProxyUseFdpass is not supported: the command would hand over a socket".into(),
            next: "leave it out; a ProxyCommand that carries the bytes itself is followed".into(),
        });
    }
    if command == "-" {
        return Err(SshConfigError::Unsupported {
            at: source.clone(),
            what: "ProxyCommand - (standard input as the connection) is not supported".into(),
            next: "name a command, or use ProxyJump".into(),
        });
    }
    let expanded = tokens.expand(command, expand::IN_COMMANDS);
    expanded.map(drop).map_err(|what| line_error(source, what))
}

fn parse_jump(
    text: &str,
    tokens: &Tokens<'_>,
    source: &Source,
) -> Result<SshTarget, SshConfigError> {
    let text = tokens
        .expand(text, expand::IN_JUMPS)
        .map_err(|what| line_error(source, what))?;
    text.parse().map_err(|error| SshConfigError::Jump {
        at: source.clone(),
        jump: crate::layer::printable(&text, 120),
        error,
    })
}

pub(super) fn line_error(source: &Source, what: String) -> SshConfigError {
    SshConfigError::Line {
        at: source.clone(),
        what,
    }
}
