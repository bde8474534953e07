//! Holding the tunnel: serves the local ends, and follows how the connection stands until a person is
//! needed.

use std::collections::BTreeSet;

use clawline::layer::{Layer, LayerError, Retry};
use clawline::tunnel::spec::RemoteEnd;
use clawline::tunnel::status::TunnelStatus;
use futures_util::future::join_all;
use tokio::sync::watch;

use super::ends::End;
use super::lines::{say, trouble};
use super::look::look_around;
use super::told::Told;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::link::{FarSide, LinkRequest};

/// Serves the ends for as long as the tunnel helps itself; returns why a person is needed.
///
/// The ends are served all the time: while the tunnel is down, a program waits as long as a forward
/// lets it and then sees its connection closed, instead of hanging in the kernel's queue.
pub(super) async fn hold(
    context: &Context,
    request: &LinkRequest,
    far: &FarSide,
    ends: &[End],
    found: &watch::Sender<Option<RemoteEnd>>,
) -> Failure {
    let forwards = ends
        .iter()
        .map(|end| end.serve(far.tunnel(), found.subscribe()));
    tokio::select! {
        failure = follow(context, request, far, ends, found) => failure,
        _ = join_all(forwards) => stopped(),
    }
}

fn stopped() -> Failure {
    let why = LayerError::new(Layer::Ssh, "the tunnel was stopped");
    Failure::Layer(why.retry(Retry::Never))
}

/// Tells how the tunnel stands, and where the far end is, until a person is needed.
async fn follow(
    context: &Context,
    request: &LinkRequest,
    far: &FarSide,
    ends: &[End],
    found: &watch::Sender<Option<RemoteEnd>>,
) -> Failure {
    let label = &request.label;
    // In text they were told before the tunnel was up.
    let mut noted = BTreeSet::new();
    if !context.out.json {
        noted.extend(request.notes.iter().cloned());
    }
    let mut view = far.tunnel().view();
    let mut told = Told::default();
    loop {
        let now = view.borrow_and_update().clone();
        match &now.status {
            TunnelStatus::Up { .. } => {
                let looking = look_around(context, request, far, ends, found, &mut noted);
                let gone =
                    view.wait_for(|view| !view.status.is_up() || view.generation != now.generation);
                tokio::select! {
                    failure = looking => return failure,
                    _ = gone => told = Told::default(),
                }
                continue;
            }
            // It was up: the ends stay bound, for a renewed key or a person brings it back, and starting
            // anew would only knock at the server's door more often.
            TunnelStatus::Attention { why } if now.generation > 0 && why.layer == Layer::SignIn => {
                if told.is_news("attention", &why.what) {
                    say(context, label, "attention", &trouble(why));
                }
            }
            TunnelStatus::Attention { why } | TunnelStatus::Failed { why } => {
                return Failure::Layer(why.clone());
            }
            TunnelStatus::Stopped | TunnelStatus::Paused => return stopped(),
            status @ (TunnelStatus::Connecting { .. } | TunnelStatus::Waiting { .. }) => {
                told.trying(context, label, status);
            }
        }
        if view.changed().await.is_err() {
            return stopped();
        }
    }
}
