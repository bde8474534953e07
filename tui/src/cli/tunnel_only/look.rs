//! A look at the far end each time the connection is up: where it is, and whether something listens
//! there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clawline::layer::{Layer, LayerError, Retry};
use clawline::tunnel::spec::RemoteEnd;
use futures_util::future::try_join_all;
use tokio::sync::watch;

use super::ends::End;
use super::lines::{say, trouble};
use crate::cli::connect::print_note;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::link::{FarSide, LinkRequest};

/// How long a look at the far end may take before the tunnel counts as up without it.
const LOOK_DEADLINE: Duration = Duration::from_secs(10);

/// Pause before the far end is looked at again while nothing listens there.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Finds the far end over the connection that is up now, and looks whether something listens there.
/// Returns only when a person is needed.
pub(super) async fn look_around(
    context: &Context,
    request: &LinkRequest,
    far: &FarSide,
    ends: &[End],
    found: &watch::Sender<Option<RemoteEnd>>,
    noted: &mut BTreeSet<String>,
) -> Failure {
    let label = &request.label;
    let mut is_told = false;
    let (default, notes) = loop {
        match tokio::time::timeout(LOOK_DEADLINE, far.end()).await {
            Ok(Ok(end)) => break end,
            // The gateway that was named is not there; it may start at any time.
            Ok(Err(error)) if error.layer == Layer::Port => {
                if !is_told {
                    say(context, label, "up", &trouble(&error));
                    is_told = true;
                }
            }
            // The connection goes down; whoever watches it drops this call.
            Ok(Err(_)) | Err(_) => {}
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    found.send_replace(Some(default.clone()));
    let notes = request.notes.iter().cloned().chain(notes);
    let news: Vec<String> = notes.filter(|note| noted.insert(note.clone())).collect();
    for note in &news {
        print_note(context, note);
    }
    let served: Vec<(&End, Option<RemoteEnd>)> = ends
        .iter()
        .map(|end| (end, end.leads_to(&default)))
        .collect();
    for (end, remote) in &served {
        let remote = match remote {
            Some(remote) => remote.to_string(),
            None => "socks".into(),
        };
        let mut members = vec![
            ("listen", end.forward.local().to_string().into()),
            ("remote", remote.into()),
        ];
        if end.name != end.forward.local().to_string() {
            members.push(("name", end.name.clone().into()));
        }
        if context.out.json {
            members.push(("notes", news.clone().into()));
        }
        say(context, label, "up", &members);
    }
    let remotes: BTreeMap<String, &RemoteEnd> = served
        .iter()
        .filter_map(|(_, remote)| remote.as_ref())
        .map(|remote| (remote.to_string(), remote))
        .collect();
    // ssh goes on by itself; a service that holds nothing open should rather say so and end.
    let server = request.ssh_server();
    let ends_if_forbidden = server.and_then(|hop| hop.exit_on_forward_failure);
    let ends_if_forbidden = ends_if_forbidden.unwrap_or(true);
    let looks = remotes
        .into_values()
        .map(|remote| look(context, label, far, remote, ends_if_forbidden));
    match try_join_all(looks).await {
        Err(failure) => failure,
        Ok(_) => std::future::pending().await,
    }
}

/// Looks whether something listens at a far end, until something does. An error needs a person: the
/// server forbids forwarding. Where that is to end nothing (`ExitOnForwardFailure no`), it is told, and
/// not looked at again over this connection, for which the server has read its configuration.
async fn look(
    context: &Context,
    label: &str,
    far: &FarSide,
    remote: &RemoteEnd,
    ends_if_forbidden: bool,
) -> Result<(), Failure> {
    let mut is_told = false;
    loop {
        let error = match far.tunnel().open(remote).await {
            Ok(_) => {
                if is_told {
                    say(
                        context,
                        label,
                        "up",
                        &[("remote", remote.to_string().into())],
                    );
                }
                return Ok(());
            }
            Err(error) => error,
        };
        let is_forbidden = error.layer == Layer::Forward && needs_a_person(&error);
        if is_forbidden && ends_if_forbidden {
            return Err(Failure::Layer(error));
        }
        match error.layer {
            Layer::Forward | Layer::Port if !is_told => {
                let mut members = vec![("remote", remote.to_string().into())];
                members.extend(trouble(&error));
                say(context, label, "up", &members);
                is_told = true;
            }
            _ => {}
        }
        if is_forbidden {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// A server that has no room for another channel has some later.
fn needs_a_person(error: &LayerError) -> bool {
    match error.retry {
        Retry::Attention | Retry::Never => true,
        Retry::Soon | Retry::Backoff | Retry::Later | Retry::Steady => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_server_is_waited_for_and_one_that_forbids_forwarding_is_not() {
        let full = LayerError::new(Layer::Forward, "no room");
        assert!(!needs_a_person(&full));
        assert!(needs_a_person(&full.retry(Retry::Attention)));
    }
}
