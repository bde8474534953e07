//! The lines `--tunnel-only` prints: `name=value` for people and scripts, or JSON.

use std::time::Duration;

use clawline::layer::LayerError;
use serde_json::{Map, Value};

use super::state::{State, now_ms};
use crate::cli::context::Context;

pub(in crate::cli) fn trouble(why: &LayerError) -> Vec<(&'static str, Value)> {
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

pub(in crate::cli) fn millis(duration: Duration) -> Value {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .into()
}

/// One line for a change: `state=up target=home listen=127.0.0.1:18789 …`, or the same as JSON.
pub(in crate::cli) fn say(context: &Context, label: &str, state: &str, members: &[(&str, Value)]) {
    if context.out.json {
        let mut object = Map::new();
        object.insert("v".into(), 1.into());
        object.insert("ts".into(), now_ms().into());
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

/// Everything that is known now, a line each for the tunnel, its layers and its local ends; or one JSON
/// object.
pub(super) fn report(context: &Context, state: &State) {
    if context.out.json {
        context
            .out
            .value(&serde_json::to_value(state).unwrap_or_default());
        return;
    }
    for line in report_lines(state) {
        context.out.line(&line);
    }
}

fn report_lines(state: &State) -> Vec<String> {
    let mut members: Vec<(&str, Value)> = vec![
        ("pid", state.pid.into()),
        ("for_ms", (now_ms() - state.since).max(0).into()),
        ("generation", state.generation.into()),
        ("reconnects", state.reconnects.into()),
    ];
    let known = [
        ("rtt_ms", state.rtt_ms.map(Value::from)),
        ("layer", state.layer.as_deref().map(Value::from)),
        ("attempt", state.attempt.map(Value::from)),
        (
            "retry_ms",
            state.retry_at.map(|at| (at - now_ms()).max(0).into()),
        ),
    ];
    members.extend(known.into_iter().filter_map(|(name, v)| Some((name, v?))));
    for (name, text) in [
        ("why", &state.why),
        ("peer", &state.peer),
        ("next", &state.next),
    ] {
        if !text.is_empty() {
            members.push((name, text.as_str().into()));
        }
    }
    let mut lines = vec![line(&state.target, &state.state, &members)];
    for row in &state.rows {
        let mut members: Vec<(&str, Value)> = vec![("state", row.state.as_str().into())];
        members.extend(row.ms.map(|ms| ("ms", ms.into())));
        if !row.detail.is_empty() {
            members.push(("detail", row.detail.as_str().into()));
        }
        lines.push(pairs("layer", &row.layer, &members));
    }
    for forward in &state.forwards {
        let members: [(&str, Value); 7] = [
            ("listen", forward.local.as_str().into()),
            ("remote", forward.remote.as_str().into()),
            ("open", forward.open.into()),
            ("total", forward.total.into()),
            ("refused", forward.refused.into()),
            ("bytes_up", forward.bytes_up.into()),
            ("bytes_down", forward.bytes_down.into()),
        ];
        lines.push(pairs("forward", &forward.name, &members));
    }
    lines
}

fn pairs(what: &str, name: &str, members: &[(&str, Value)]) -> String {
    let mut line = format!("{what}={}", word(&name.into()));
    for (name, value) in members {
        line.push_str(&format!(" {name}={}", word(value)));
    }
    line
}

fn line(label: &str, state: &str, members: &[(&str, Value)]) -> String {
    let mut all = vec![("target", label.into())];
    all.extend_from_slice(members);
    pairs("state", state, &all)
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
    use clawline::layer::Layer;

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
}
