//! The local ends of `--tunnel-only`: which ones are wanted, and binding them.

use std::collections::BTreeSet;

use clawline::tunnel::Tunnel;
use clawline::tunnel::ends::{EndError, ListenSpec, parse_socks_end};
use clawline::tunnel::forward::{BindError, Forward};
use clawline::tunnel::spec::{LocalEnd, RemoteEnd};
use tokio::sync::watch;

use crate::cli::args::AppArgs;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::link::{LinkRequest, UsageError};

/// The local end when nothing was said.
const DEFAULT_LISTEN: &str = "127.0.0.1:18789";

/// A bound local end and the far end that was typed with it.
pub(super) struct End {
    /// What it is called, in status and messages.
    pub(super) name: String,
    pub(super) forward: Forward,
    pub(super) remote: Option<RemoteEnd>,
    /// Each program says where it wants to go.
    pub(super) socks: bool,
}

impl End {
    /// Serves it until the tunnel is stopped; `found` is the far end of the whole command.
    pub(super) async fn serve(&self, tunnel: &Tunnel, found: watch::Receiver<Option<RemoteEnd>>) {
        match &self.remote {
            _ if self.socks => self.forward.serve_socks(tunnel).await,
            Some(typed) => self.forward.serve(tunnel, typed).await,
            None => self.forward.serve_found(tunnel, found).await,
        }
    }

    /// Where it leads, when the far end of the whole command is `default`.
    pub(super) fn leads_to(&self, default: &RemoteEnd) -> Option<RemoteEnd> {
        let far = || self.remote.clone().unwrap_or_else(|| default.clone());
        (!self.socks).then(far)
    }
}

/// Binds every local end that was asked for, or none.
pub(super) fn bind(
    context: &Context,
    app: &AppArgs,
    request: &LinkRequest,
) -> Result<Vec<End>, Failure> {
    let for_everybody = app.allow_other_users || context.loaded().config.tunnel.allow_other_users;
    let mut names = BTreeSet::new();
    wanted(app, request)?
        .into_iter()
        .map(|spec| {
            if let Some(name) = &spec.name
                && !names.insert(name.clone())
            {
                let what = format!("--listen: two local ends are called \"{name}\"");
                return Err(UsageError::new(what, "give one of them another NAME=").into());
            }
            let local = match spec.local {
                LocalEnd::Unix(path) => {
                    LocalEnd::Unix(context.connector.env.expand(&path.to_string_lossy()))
                }
                tcp @ LocalEnd::Tcp(_) => tcp,
            };
            let forward = if for_everybody {
                Forward::bind_for_everybody(&local)
            } else {
                Forward::bind(&local)
            };
            let forward = forward.map_err(|error| cannot_bind(&error))?;
            Ok(End {
                name: spec.name.unwrap_or_else(|| forward.local().to_string()),
                forward,
                remote: spec.remote,
                socks: spec.socks,
            })
        })
        .collect()
}

/// The local ends that were typed, else those of the config, else the usual one.
fn wanted(app: &AppArgs, request: &LinkRequest) -> Result<Vec<ListenSpec>, Failure> {
    let usage = |option: &str, error: EndError| {
        Failure::from(UsageError::new(format!("{option}: {error}"), error.next()))
    };
    let default = [DEFAULT_LISTEN.to_owned()];
    let typed = match (app.listen.is_empty(), request.listen.is_empty()) {
        (false, _) => app.listen.as_slice(),
        (true, false) => request.listen.as_slice(),
        // Who asks for SOCKS alone gets no port for the gateway beside it.
        (true, true) if !app.dynamic.is_empty() => &[],
        (true, true) => &default,
    };
    let listen = typed
        .iter()
        .map(|text| text.parse().map_err(|error| usage("--listen", error)));
    let dynamic = app
        .dynamic
        .iter()
        .map(|text| parse_socks_end(text).map_err(|error| usage("--dynamic", error)));
    listen.chain(dynamic).collect()
}

fn cannot_bind(error: &BindError) -> Failure {
    let next = match error {
        BindError::Taken {
            free_port: Some(port),
            ..
        } => format!("stop it, or choose another: --listen {port} is free"),
        other => other.next_step(),
    };
    Failure::Bind {
        what: error.to_string(),
        next,
    }
}
