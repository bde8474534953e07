//! `clawline health`: one question, an exit code that means something, and `--watch` for monitoring.

use std::time::{Duration, Instant};

use clawline::client::Client;
use clawline::layer::{Layer, LayerError};
use clawline::protocol::methods::system::{Health, HealthParams, HealthReply};
use clawline::tunnel::status::TunnelStatus;
use serde_json::{Map, Value, json};

use super::args::TargetArg;
use super::connect::{self, Answer, Connected, with_gateway};
use super::context::Context;
use super::failure::Failure;
use super::report::Report;
use crate::link::{Link, LinkView};

/// How long `health` may take.
const HEALTH_DEADLINE: Duration = Duration::from_secs(10);

/// Arguments of `health`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) target: TargetArg,
    /// Look again every SECS seconds (5 when left out), a line each time, until interrupted
    #[arg(
        long,
        value_name = "SECS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "5",
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    watch: Option<u64>,
}

pub(crate) async fn run(context: &Context, args: &Args) -> u8 {
    let bare = args.target.target.as_deref();
    match args.watch {
        None => with_gateway(context, bare, async |gateway| once(gateway).await).await,
        Some(seconds) => watch(context, bare, seconds.max(1)).await,
    }
}

pub(super) async fn once(gateway: &Connected) -> Result<Answer, Failure> {
    let (reply, took) = ask(&gateway.client).await?;
    let mut answer = Answer {
        exit: u8::from(!reply.ok),
        ..Answer::default()
    };
    answer.say(sentence(
        &gateway.target,
        &gateway.link.view().borrow(),
        &reply,
        took,
    ));
    Ok(answer
        .with("healthy", reply.ok)
        .with("ms", millis(took))
        .with("gateway", gateway_json(&gateway.link.view().borrow()))
        .with("health", serde_json::to_value(&reply).unwrap_or_default()))
}

async fn ask(client: &Client) -> Result<(HealthReply, Duration), Failure> {
    let started = Instant::now();
    let reply = client
        .call_within::<Health>(HealthParams::default(), HEALTH_DEADLINE)
        .await?;
    Ok((reply, started.elapsed()))
}

fn sentence(target: &str, view: &LinkView, reply: &HealthReply, took: Duration) -> String {
    let state = if reply.ok { "healthy" } else { "UNHEALTHY" };
    let sessions = reply.sessions.count;
    format!(
        "{target}  {state}  gateway {}  {} ms  {sessions} session{}",
        version(view),
        millis(took),
        if sessions == 1 { "" } else { "s" },
    )
}

/// `2026.9.6, protocol 4`.
pub(super) fn version(view: &LinkView) -> String {
    let version = view.gateway_version().unwrap_or("?");
    let version = clawline::layer::printable(version, 60);
    match view.protocol() {
        Some(protocol) => format!("{version}, protocol {}", protocol.number()),
        None => version,
    }
}

pub(super) fn gateway_json(view: &LinkView) -> Value {
    json!({
        "version": view.gateway_version(),
        "protocol": view.protocol().map(|protocol| protocol.number()),
        "id": view.gateway_id.as_str(),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn watch(context: &Context, bare: Option<&str>, seconds: u64) -> u8 {
    let request = match context.request(bare) {
        Ok(request) => request,
        Err(error) => {
            let failure = error.into();
            let target = bare.unwrap_or_default();
            return connect::fail(context, target, &Default::default(), &[], &failure);
        }
    };
    let target = request.label.clone();
    let (link, asking) = match connect::open(request, false) {
        Ok(opened) => opened,
        Err(failure) => return connect::fail(context, &target, &Default::default(), &[], &failure),
    };
    tokio::select! {
        () = look_again(context, &target, &link, Duration::from_secs(seconds)) => 0,
        () = asking.interrupted() => connect::interrupted(context, &target, &link.view()),
    }
}

/// A line each time, until nobody reads them.
async fn look_again(context: &Context, target: &str, link: &Link, pause: Duration) {
    // The first line waits for the first outcome, as long as there would be a second line.
    let first = link.first_answer(HEALTH_DEADLINE);
    let _ = tokio::time::timeout(pause, first).await;
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !context.out.is_closed() {
        ticks.tick().await;
        let view = link.view().borrow().clone();
        let outcome = match (&view.hello, view.trouble()) {
            (Some(_), _) => ask(&link.client()).await,
            (None, Some(why)) => Err(Failure::Layer(why.clone())),
            (None, None) if context.out.json => Err(Failure::Layer(not_yet(&view.status))),
            (None, None) => {
                context.out.note(&format!("{target}  connecting"));
                continue;
            }
        };
        let view = link.view().borrow().clone();
        tell(context, target, &view, outcome);
    }
}

/// Nothing went wrong yet, and yet it is not well.
fn not_yet(status: &TunnelStatus) -> LayerError {
    match status {
        TunnelStatus::Connecting { layer, .. } => LayerError::new(*layer, "still connecting"),
        _ => LayerError::new(Layer::Hello, "not connected"),
    }
}

fn tell(
    context: &Context,
    target: &str,
    view: &LinkView,
    outcome: Result<(HealthReply, Duration), Failure>,
) {
    if context.out.json {
        let mut more = Map::new();
        more.insert("ts".into(), jiff::Timestamp::now().as_millisecond().into());
        // Rises with every connection, so that a short break between two looks shows.
        more.insert("connection".into(), view.generation.into());
        let (failure, exit) = match &outcome {
            Ok((reply, took)) => {
                more.insert("healthy".into(), reply.ok.into());
                more.insert("ms".into(), millis(*took).into());
                (None, u8::from(!reply.ok))
            }
            Err(failure) => (Some(failure), 1),
        };
        let report = Report {
            target,
            rows: &view.rows,
            notes: &view.notes,
            failure,
            exit,
            more,
        };
        context.out.value(&report.to_json());
        return;
    }
    let time = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
    match outcome {
        Ok((reply, took)) => {
            context
                .out
                .line(&format!("{time}  {}", sentence(target, view, &reply, took)));
        }
        Err(failure) => {
            let waits = match &view.status {
                TunnelStatus::Attention { .. } => "; waits for you",
                _ => "",
            };
            let what = failure.lines().join("; ");
            context
                .out
                .line(&format!("{time}  {target}  DOWN  {what}{waits}"));
        }
    }
}
