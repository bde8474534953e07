//! Tool calls on one line.

use serde_json::Value;

use crate::widgets::text::one_line;

/// Longest text of arguments that is kept for the one line.
const MAX_ARGUMENTS: usize = 400;
/// Longest result that is kept for the expanded view.
const MAX_RESULT: usize = 64 * 1024;

/// The arguments of a call on one line: the one that says most, else all as JSON.
pub(super) fn arguments(value: &Value) -> String {
    const TELLING: [&str; 8] = [
        "command",
        "cmd",
        "path",
        "file_path",
        "url",
        "query",
        "pattern",
        "text",
    ];
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(map) => TELLING
            .iter()
            .find_map(|name| map.get(*name)?.as_str())
            .map_or_else(
                || {
                    if map.is_empty() {
                        String::new()
                    } else {
                        value.to_string()
                    }
                },
                str::to_owned,
            ),
        other => other.to_string(),
    };
    one_line(&bounded(&text, MAX_ARGUMENTS))
}

/// The text of a result: a text, `{content:[{text}]}`, or JSON.
pub(super) fn result(value: &Value) -> String {
    let parts = match value {
        Value::Array(parts) => Some(parts),
        Value::Object(map) => map.get("content").and_then(Value::as_array),
        _ => None,
    };
    let text = match (value, parts) {
        (Value::Null, _) => String::new(),
        (Value::String(text), _) => text.clone(),
        (_, Some(parts)) => parts
            .iter()
            .filter_map(|part| part.get("text")?.as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        (other, None) => other.to_string(),
    };
    bounded(&text, MAX_RESULT)
}

fn bounded(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let mut end = max_bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let kept = text.get(..end).unwrap_or_default();
    format!("{kept}… ({} bytes more)", text.len() - end)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_telling_argument_is_shown_and_controls_are_visible() {
        assert_eq!(
            arguments(&json!({"command":"du -x\n/ | sort\u{1b}","timeout":3})),
            "du -x / | sort\\u{1b}"
        );
        assert_eq!(arguments(&json!({"n":1})), r#"{"n":1}"#);
        assert_eq!(arguments(&json!({})), "");
    }

    #[test]
    fn a_result_is_read_from_all_its_spellings() {
        for value in [
            json!("out"),
            json!([{"type":"text","text":"out"}]),
            json!({"content":[{"type":"text","text":"out"}]}),
        ] {
            assert_eq!(result(&value), "out");
        }
    }
}
