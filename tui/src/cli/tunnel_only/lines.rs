//! The lines `--tunnel-only` prints: `name=value` for people and scripts, or JSON.

use std::time::Duration;

use clawline::layer::LayerError;
use serde_json::{Map, Value};

use crate::cli::context::Context;

pub(super) fn trouble(why: &LayerError) -> Vec<(&'static str, Value)> {
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

pub(super) fn millis(duration: Duration) -> Value {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .into()
}

/// One line for a change: `state=up target=home listen=127.0.0.1:18789 …`, or the same as JSON.
pub(super) fn say(context: &Context, label: &str, state: &str, members: &[(&str, Value)]) {
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
