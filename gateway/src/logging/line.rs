//! One event, one line: what strangers say is cut and made visible before it reaches a file or a
//! terminal, so that it can neither forge a line nor drown the others.

use std::io::{self, Write};

use clawline::layer::is_unsafe_to_show;

/// Longest text of one value, in characters.
const MAX_VALUE_CHARS: usize = 256;
/// Longest line for a person, in bytes.
const MAX_LINE_BYTES: usize = 2048;

/// A line of JSON with every text cut to [`MAX_VALUE_CHARS`], and with characters that would be
/// invisible or turn the text around written out. Everything else stays as it is.
pub(super) fn bounded(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        out.push(c);
        if c == '"' {
            text(&mut rest, &mut out);
        }
    }
    out
}

/// The rest of a JSON text, its closing quote included.
fn text(rest: &mut std::str::Chars<'_>, out: &mut String) {
    let mut length = 0;
    while let Some(c) = rest.next() {
        if c == '"' {
            if length > MAX_VALUE_CHARS {
                out.push('…');
            }
            out.push('"');
            return;
        }
        // An escape is one character, and is never cut in two.
        let mut unit = String::from(c);
        if c == '\\' {
            let kind = rest.next();
            unit.extend(kind);
            if kind == Some('u') {
                unit.extend(rest.by_ref().take(4));
            }
        } else if is_unsafe_to_show(c) {
            unit = format!("\\\\u{{{:x}}}", u32::from(c));
        }
        length += 1;
        if length <= MAX_VALUE_CHARS {
            out.push_str(&unit);
        }
    }
}

/// Writes each event as one line that ends.
pub(super) struct OneLine<W>(pub(super) W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let body = text.strip_suffix(b"\n").unwrap_or(text);
        let mut line: Vec<u8> = body
            .iter()
            .take(MAX_LINE_BYTES)
            .map(|byte| match byte {
                b'\n' | b'\r' => b' ',
                byte => *byte,
            })
            .collect();
        line.push(b'\n');
        self.0.write_all(&line)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn foreign_text_is_cut_and_made_visible() {
        let long = "x".repeat(20_000);
        let line = json!({"peer": "a\u{1b}[2J\r\n[INFO] ok", "origin": long, "n": 1, "way": "\u{202e}txt"});
        let text = bounded(&format!("{line}\n"));
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["origin"].as_str().unwrap().chars().count(), 257);
        assert_eq!(read["way"], "\\u{202e}txt");
        assert_eq!(read["peer"], line["peer"]);
        assert_eq!(read["n"], 1);
    }

    #[test]
    fn a_person_gets_one_line_an_event() {
        let mut out = Vec::new();
        OneLine(&mut out).write_all(b"a\r\nINFO forged\n").unwrap();
        assert_eq!(out, b"a  INFO forged\n");
    }

    proptest! {
        #[test]
        fn a_line_of_json_stays_one(name in ".{0,400}", value in ".{0,400}") {
            let mut line = json!({});
            line[name.as_str()] = json!(value);
            let text = bounded(&line.to_string());
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
            prop_assert!(text.chars().count() <= 24 * MAX_VALUE_CHARS + 20);
        }
    }
}
