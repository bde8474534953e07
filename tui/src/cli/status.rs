//! `clawline status`: who and what is there; `--deep` adds every layer on the way.

use clawline::layer::printable;
use clawline::protocol::methods::NoParams;
use clawline::protocol::methods::system::{
    Health, HealthParams, PresenceEntry, Status, StatusParams, SystemPresence,
};
use serde_json::Value;

use super::args::TargetArg;
use super::connect::{Answer, Connected, with_gateway};
use super::context::Context;
use super::failure::Failure;
use super::health::{gateway_json, version};
use super::report::row_lines;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) target: TargetArg,
    /// Show every layer on the way, and ask the gateway to look at its channels
    #[arg(long)]
    pub(super) deep: bool,
}

pub(crate) async fn run(context: &Context, args: &Args) -> u8 {
    let bare = args.target.target.as_deref();
    with_gateway(context, bare, async |gateway| {
        show(gateway, args.deep).await
    })
    .await
}

pub(super) async fn show(gateway: &Connected, deep: bool) -> Result<Answer, Failure> {
    let client = &gateway.client;
    let params = HealthParams {
        probe: deep.then_some(true),
    };
    let health = client.call::<Health>(params).await?;
    // A gateway that lacks one of these is still worth showing.
    let status = client.call::<Status>(StatusParams::default()).await;
    let presence = client.call::<SystemPresence>(NoParams {}).await;
    let view = gateway.link.view().borrow().clone();
    let mut answer = Answer {
        exit: u8::from(!health.ok),
        ..Answer::default()
    };
    answer.say(format!("target    {}", gateway.target));
    answer.say(format!("gateway   {}", version(&view)));
    let up = gateway.hello.snapshot.uptime_ms / 1000;
    answer.say(format!("running   {}", duration(up)));
    let state = if health.ok { "healthy" } else { "UNHEALTHY" };
    let rtt = view.rtt.map_or(String::new(), |rtt| {
        format!(", round trip {} ms", rtt.as_millis())
    });
    answer.say(format!("health    {state}{rtt}"));
    answer.say(format!("sessions  {}", health.sessions.count));
    if !health.default_agent_id.is_empty() {
        let agent = printable(&health.default_agent_id, 80);
        answer.say(format!(
            "agent     {agent} of {}",
            health.agents.len().max(1)
        ));
    }
    if !health.channel_order.is_empty() {
        let channels = health.channel_order.join(", ");
        answer.say(format!("channels  {}", printable(&channels, 200)));
    }
    if let Ok(people) = &presence {
        answer.say(format!("connected {}", people.len()));
        for entry in people {
            answer.say(format!("  {}", person(entry)));
        }
    }
    if deep {
        answer.say("layers");
        answer.text.extend(row_lines(&view.rows));
    }
    let presence = presence
        .ok()
        .and_then(|people| serde_json::to_value(people).ok());
    Ok(answer
        .with("healthy", health.ok)
        .with("gateway", gateway_json(&view))
        .with("health", serde_json::to_value(&health).unwrap_or_default())
        .with("status", status.unwrap_or(Value::Null))
        .with("presence", presence.unwrap_or_default()))
}

fn person(entry: &PresenceEntry) -> String {
    let parts = [
        &entry.host,
        &entry.client_id,
        &entry.mode,
        &entry.version,
        &entry.ip,
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .flatten()
        .filter(|text| !text.is_empty())
        .map(|text| printable(text, 80))
        .collect();
    parts.join("  ")
}

/// `3 d 4 h`, `12 min`, `8 s`.
pub(crate) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, text) in [
            (8, "8 s"),
            (720, "12 min"),
            (3_700, "1 h 1 min"),
            (273_600, "3 d 4 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
