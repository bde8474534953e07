//! The local ends of `--tunnel-only`: which ones are wanted, and binding them.

use clawline::tunnel::ends::ListenSpec;
use clawline::tunnel::forward::{BindError, Forward};
use clawline::tunnel::spec::{LocalEnd, RemoteEnd};

use crate::cli::args::AppArgs;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::link::{LinkRequest, UsageError};

/// The local end when nothing was said.
const DEFAULT_LISTEN: &str = "127.0.0.1:18789";

/// A bound local end and the far end that was typed with it.
pub(super) struct End {
    pub(super) forward: Forward,
    pub(super) remote: Option<RemoteEnd>,
}

/// Binds every local end that was asked for, or none.
pub(super) fn bind(
    context: &Context,
    app: &AppArgs,
    request: &LinkRequest,
) -> Result<Vec<End>, Failure> {
    let default = [DEFAULT_LISTEN.to_owned()];
    let typed = match (app.listen.is_empty(), request.listen.is_empty()) {
        (false, _) => app.listen.as_slice(),
        (true, false) => request.listen.as_slice(),
        (true, true) => &default,
    };
    let for_everybody = app.allow_other_users || context.loaded().config.tunnel.allow_other_users;
    typed
        .iter()
        .map(|text| {
            let spec: ListenSpec =
                text.parse()
                    .map_err(|error: clawline::tunnel::ends::EndError| {
                        UsageError::new(format!("--listen: {error}"), error.next())
                    })?;
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
            Ok(End {
                forward: forward.map_err(|error| cannot_bind(&error))?,
                remote: spec.remote,
            })
        })
        .collect()
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
