//! A line of our log in the form that OpenClaw's command line knows how to show: time, level,
//! subsystem and message in the members that it looks for.

use serde_json::{Map, Value, json};

/// Members that have a place of their own.
const PLACED: [&str; 4] = ["timestamp", "level", "target", "message"];

/// The line for official clients. A line that is not one of our records stays as it is.
pub(super) fn for_clients(line: &str) -> String {
    serde_json::from_str::<Map<String, Value>>(line)
        .ok()
        .and_then(|record| projected(&record))
        .unwrap_or_else(|| line.to_owned())
}

fn projected(record: &Map<String, Value>) -> Option<String> {
    let text = |name: &str| record.get(name).and_then(Value::as_str);
    let (time, level) = (text("timestamp")?, text("level")?);
    let mut message = text("message").unwrap_or_default().to_owned();
    for (name, value) in record {
        if !PLACED.contains(&name.as_str()) {
            if !message.is_empty() {
                message.push(' ');
            }
            message.push_str(name);
            message.push('=');
            message.push_str(&word(value));
        }
    }
    // It is read as JSON in a string.
    let name = json!({ "subsystem": subsystem(text("target").unwrap_or_default()) }).to_string();
    let meta = json!({ "name": name, "logLevelName": level, "date": time });
    Some(json!({ "1": message, "_meta": meta, "time": time }).to_string())
}

/// A value as it is when it is one word, and in quotes when it is not.
fn word(value: &Value) -> String {
    match value.as_str() {
        Some(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => text.to_owned(),
        _ => value.to_string(),
    }
}

/// The part of the program, without the crate's name and the file's.
fn subsystem(target: &str) -> &str {
    let mut parts = target.split("::");
    let first = parts.next().unwrap_or_default();
    match parts.next() {
        Some(part) if first == env!("CARGO_CRATE_NAME") => part,
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_what_official_clients_look_for() {
        let line = r#"{"timestamp":"T","level":"INFO","message":"connect refused","client":"cli","why":"a b","n":3,"target":"clawline_gateway::conn::actor"}"#;
        let shown: Value = serde_json::from_str(&for_clients(line)).unwrap();
        let expected = json!({
            "1": "connect refused client=cli why=\"a b\" n=3",
            "_meta": {"name": "{\"subsystem\":\"conn\"}", "logLevelName": "INFO", "date": "T"},
            "time": "T",
        });
        // The order of members is not a matter of meaning.
        let words = |value: &Value| {
            let mut words: Vec<String> = value["1"]
                .as_str()
                .unwrap()
                .split_inclusive(' ')
                .map(|word| word.trim().to_owned())
                .collect();
            words.sort();
            words
        };
        assert_eq!(words(&shown), words(&expected));
        assert_eq!(shown["_meta"], expected["_meta"]);
        assert_eq!(shown["time"], expected["time"]);
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        for line in ["", "plain words", "[1]", r#"{"a":1}"#, r#"{"timestamp":1}"#] {
            assert_eq!(for_clients(line), line);
        }
    }
}
