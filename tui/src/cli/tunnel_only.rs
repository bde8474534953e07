//! `clawline --tunnel-only`: holds local ends open for other programs, and says on one line each how the
//! tunnel stands. It ends by itself only when a person is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clawline::layer::{Layer, LayerError, Retry};
use clawline::tunnel::ends::ListenSpec;
use clawline::tunnel::forward::{BindError, Forward};
use clawline::tunnel::spec::{LocalEnd, RemoteEnd};
use clawline::tunnel::status::TunnelStatus;
use clawline::tunnel::{BULK_WINDOW, TunnelOptions};
use futures_util::future::{join_all, try_join_all};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::args::AppArgs;
use super::ask::Asking;
use super::connect::{fail, fail_early, print_note};
use super::context::Context;
use super::failure::{Failure, INTERRUPTED};
use super::signals::terminated;
use crate::link::{FarSide, LinkRequest, UsageError};

/// The local end when nothing was said.
const DEFAULT_LISTEN: &str = "127.0.0.1:18789";

/// How long a look at the far end may take before the tunnel counts as up without it.
const LOOK_DEADLINE: Duration = Duration::from_secs(10);

/// Pause before the far end is looked at again while nothing listens there.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A bound local end and the far end that was typed with it.
struct End {
    forward: Forward,
    remote: Option<RemoteEnd>,
}

pub(crate) async fn run(context: &Context, app: &AppArgs) -> u8 {
    let request = match context.connector.request(context.host.as_deref()) {
        Ok(request) => request,
        Err(error) => return fail_early(context, context.host.as_deref(), error.into()),
    };
    let ends = match bind(context, app, &request) {
        Ok(ends) => ends,
        Err(failure) => return fail_early(context, Some(&request.label), failure),
    };
    let asking = Asking::start();
    let options = TunnelOptions {
        window: BULK_WINDOW,
        ..TunnelOptions::default()
    };
    let Some(far) = request.tunnel_alone(asking.prompter(), options) else {
        let error = UsageError::new(
            format!(
                "--tunnel-only holds a way over SSH, and {} is reached directly",
                request.label
            ),
            "give it [USER@]HOST",
        );
        return fail_early(context, Some(&request.label), error.into());
    };
    for note in &request.notes {
        print_note(context, note);
    }
    let code = tokio::select! {
        failure = hold(context, &request, &far, &ends) => {
            let rows = far.tunnel().view().borrow().rows.clone();
            fail(context, &request.label, &rows, &[], &failure)
        }
        () = asking.interrupted() => INTERRUPTED,
        () = terminated() => 0,
    };
    say(context, &request.label, "stopped", &[]);
    far.tunnel().stop().await;
    code
}

fn bind(context: &Context, app: &AppArgs, request: &LinkRequest) -> Result<Vec<End>, Failure> {
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

/// Serves the ends for as long as the tunnel helps itself; returns why a person is needed.
///
/// The ends are served all the time: while the tunnel is down, a program waits as long as a forward
/// lets it and then sees its connection closed, instead of hanging in the kernel's queue.
async fn hold(context: &Context, request: &LinkRequest, far: &FarSide, ends: &[End]) -> Failure {
    let (found, far_end) = watch::channel(None);
    let forwards = ends.iter().map(|end| {
        let remote = match &end.remote {
            Some(typed) => watch::channel(Some(typed.clone())).1,
            None => far_end.clone(),
        };
        end.forward.serve_found(far.tunnel(), remote)
    });
    tokio::select! {
        failure = follow(context, request, far, ends, &found) => failure,
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
            TunnelStatus::Attention { why } | TunnelStatus::Failed { why } => {
                return Failure::Layer(why.clone());
            }
            TunnelStatus::Stopped | TunnelStatus::Paused => return stopped(),
            TunnelStatus::Connecting { layer, attempt } => {
                if told.is_news("connecting", "") {
                    say(
                        context,
                        label,
                        "connecting",
                        &[("layer", layer.id().into()), ("attempt", (*attempt).into())],
                    );
                }
            }
            TunnelStatus::Waiting {
                until,
                why,
                attempt,
            } => {
                if told.is_news("waiting", &why.what) {
                    let retry = until.saturating_duration_since(Instant::now());
                    let mut members = trouble(why);
                    members.push(("retry_ms", millis(retry)));
                    members.push(("attempt", (*attempt).into()));
                    say(context, label, "waiting", &members);
                }
            }
        }
        if view.changed().await.is_err() {
            return stopped();
        }
    }
}

/// What was told since the tunnel was last up. Trying again for the same reason is no news, so that an
/// outage of a night is a line and not a thousand.
#[derive(Default)]
struct Told(Option<(&'static str, String)>);

impl Told {
    fn is_news(&mut self, state: &'static str, why: &str) -> bool {
        let is_news = match &self.0 {
            None => true,
            Some((_, told)) => state == "waiting" && told != why,
        };
        if is_news {
            self.0 = Some((state, why.to_owned()));
        }
        is_news
    }
}

/// Finds the far end over the connection that is up now, and looks whether something listens there.
/// Returns only when a person is needed.
async fn look_around(
    context: &Context,
    request: &LinkRequest,
    far: &FarSide,
    ends: &[End],
    found: &watch::Sender<Option<RemoteEnd>>,
    noted: &mut BTreeSet<String>,
) -> Failure {
    let label = &request.label;
    let (default, notes) = loop {
        match tokio::time::timeout(LOOK_DEADLINE, far.end()).await {
            Ok(Ok(end)) => break end,
            // The connection goes down; whoever watches it drops this call.
            Ok(Err(_)) | Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    };
    found.send_replace(Some(default.clone()));
    let notes = request.notes.iter().cloned().chain(notes);
    let news: Vec<String> = notes.filter(|note| noted.insert(note.clone())).collect();
    for note in &news {
        print_note(context, note);
    }
    let served: Vec<(&End, RemoteEnd)> = ends
        .iter()
        .map(|end| (end, end.remote.clone().unwrap_or_else(|| default.clone())))
        .collect();
    for (end, remote) in &served {
        let mut members = vec![
            ("listen", end.forward.local().to_string().into()),
            ("remote", remote.to_string().into()),
        ];
        if context.out.json {
            members.push(("notes", news.clone().into()));
        }
        say(context, label, "up", &members);
    }
    let remotes: BTreeMap<String, &RemoteEnd> = served
        .iter()
        .map(|(_, remote)| (remote.to_string(), remote))
        .collect();
    let looks = remotes
        .into_values()
        .map(|remote| look(context, label, far, remote));
    match try_join_all(looks).await {
        Err(failure) => failure,
        Ok(_) => std::future::pending().await,
    }
}

/// Looks whether something listens at a far end, until something does. An error needs a person: the
/// server forbids forwarding.
async fn look(
    context: &Context,
    label: &str,
    far: &FarSide,
    remote: &RemoteEnd,
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
        match error.layer {
            Layer::Forward if needs_a_person(&error) => return Err(Failure::Layer(error)),
            Layer::Forward | Layer::Port if !is_told => {
                let mut members = vec![("remote", remote.to_string().into())];
                members.extend(trouble(&error));
                say(context, label, "up", &members);
                is_told = true;
            }
            _ => {}
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// A server that has no room for another channel has some later.
fn needs_a_person(error: &LayerError) -> bool {
    match error.retry {
        Retry::Attention | Retry::Never => true,
        Retry::Soon | Retry::Backoff | Retry::Later => false,
    }
}

fn trouble(why: &LayerError) -> Vec<(&'static str, Value)> {
    let mut members = vec![
        ("layer", why.layer.id().into()),
        ("why", why.what.as_str().into()),
    ];
    if !why.peer_text.is_empty() {
        members.push(("peer", why.peer_text.as_str().into()));
    }
    if !why.next.is_empty() {
        members.push(("next", why.next.as_str().into()));
    }
    members
}

fn millis(duration: Duration) -> Value {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .into()
}

/// One line for a change: `state=up target=home listen=127.0.0.1:18789 …`, or the same as JSON.
fn say(context: &Context, label: &str, state: &str, members: &[(&str, Value)]) {
    if context.out.json {
        let mut object = Map::new();
        object.insert("v".into(), 1.into());
        object.insert("ts".into(), jiff::Timestamp::now().as_millisecond().into());
        object.insert("state".into(), state.into());
        object.insert("target".into(), label.into());
        for (name, value) in members {
            object.insert((*name).to_owned(), value.clone());
        }
        context.out.value(&Value::Object(object));
    } else {
        context.out.line(&line(label, state, members));
    }
}

fn line(label: &str, state: &str, members: &[(&str, Value)]) -> String {
    let mut line = format!("state={state} target={}", word(&label.into()));
    for (name, value) in members {
        line.push_str(&format!(" {name}={}", word(value)));
    }
    line
}

/// A value that a script can split at spaces: anything else than a plain word is quoted.
fn word(value: &Value) -> String {
    match value {
        Value::String(text)
            if !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "@:./_[]-".contains(c)) =>
        {
            text.clone()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_split_at_spaces_outside_quotes() {
        let why = LayerError::new(Layer::Tcp, "no route to \"x\"");
        let members = trouble(&why);
        assert_eq!(
            line("home (me@desktop)", "waiting", &members),
            r#"state=waiting target="home (me@desktop)" layer=tcp why="no route to \"x\"""#
        );
    }

    #[test]
    fn a_full_server_is_waited_for_and_one_that_forbids_forwarding_is_not() {
        let full = LayerError::new(Layer::Forward, "no room");
        assert!(!needs_a_person(&full));
        assert!(needs_a_person(&full.retry(Retry::Attention)));
    }

    #[test]
    fn trying_again_for_the_same_reason_is_no_news() {
        let mut told = Told::default();
        let mut news = |state, why| told.is_news(state, why);
        assert!(news("connecting", ""));
        assert!(news("waiting", "refused"));
        assert!(!news("connecting", ""));
        assert!(!news("waiting", "refused"));
        assert!(news("waiting", "no route"));
    }
}
