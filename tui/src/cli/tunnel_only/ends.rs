//! The local ends of `--tunnel-only`: which ones are wanted, and binding them.

use std::collections::BTreeSet;

use clawline::tunnel::Tunnel;
use clawline::tunnel::ends::{EndError, ListenSpec, parse_socks_end};
use clawline::tunnel::forward::{BindRules, Forward};
use clawline::tunnel::spec::{LocalEnd, RemoteEnd};
use tokio::sync::watch;

use super::{claim, taken};
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

/// The local ends that are wanted, each of them whole: typed, else configured, else the usual one.
///
/// # Errors
/// When one cannot be read, or two have the same name.
pub(super) fn wanted(
    context: &Context,
    app: &AppArgs,
    request: &LinkRequest,
) -> Result<Vec<ListenSpec>, UsageError> {
    let mut specs = typed(app, request)?;
    let mut names = BTreeSet::new();
    for spec in &mut specs {
        if let Some(name) = &spec.name
            && !names.insert(name.clone())
        {
            let what = format!("--listen: two local ends are called \"{name}\"");
            return Err(UsageError::new(what, "give one of them another NAME="));
        }
        if let LocalEnd::Unix(path) = &spec.local {
            let path = context.connector.env.expand(&path.to_string_lossy());
            // A socket is found from every directory, and is one thing under one name.
            spec.local = LocalEnd::Unix(std::path::absolute(&path).unwrap_or(path));
        }
    }
    Ok(specs)
}

/// Binds every local end, or none.
pub(super) fn bind(
    context: &Context,
    app: &AppArgs,
    request: &LinkRequest,
    wanted: Vec<ListenSpec>,
) -> Result<Vec<End>, Failure> {
    let paths = &context.loaded().paths;
    let mut rules = BindRules {
        anybody: app.allow_other_users || context.loaded().config.tunnel.allow_other_users,
        ..BindRules::default()
    };
    if let Some(hop) = request.ssh_server() {
        rules.socket_mask = hop.stream_local_bind_mask;
        rules.socket_unlink = hop.stream_local_bind_unlink;
    }
    wanted
        .into_iter()
        .map(|spec| {
            let forward = Forward::bind_by(&spec.local, rules).map_err(|error| {
                let tunnels = claim::held(&claim::places(paths));
                taken::explain(&error, &spec.local, &tunnels, &paths.gateway_notice())
            })?;
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
fn typed(app: &AppArgs, request: &LinkRequest) -> Result<Vec<ListenSpec>, UsageError> {
    let usage =
        |option: &str, error: EndError| UsageError::new(format!("{option}: {error}"), error.next());
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
