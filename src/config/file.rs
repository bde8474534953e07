//! A config file's text as a tree, or the line and column where it stops making sense.

use std::io::{self, Read as _};
use std::path::Path;

use serde_json::{Map, Value};

use super::check::Problem;
use super::scan::{self, Scan};
use crate::bounded_file;

/// Longest file that is looked at.
const MAX_BYTES: usize = 1024 * 1024;

/// Deepest nesting; a parser that calls itself must not be driven off its stack.
const MAX_DEPTH: usize = 64;

/// Reads a file that is one, is text, and is not endless.
///
/// # Errors
/// `InvalidData`, with the rest of a sentence, for what no config file is; else whatever the system says.
pub fn read(path: &Path) -> io::Result<String> {
    let odd = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    // Opening a pipe would wait for somebody to write.
    if !std::fs::metadata(path)?.is_file() {
        return Err(odd("is no regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX) + 1;
    let file = bounded_file::open_at_once(path)?;
    file.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        return Err(odd(format!("is longer than {MAX_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let looks = match error.as_bytes() {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => " (it looks like UTF-16)",
            _ => "",
        };
        odd(format!("is not UTF-8 text{looks}; save it as UTF-8"))
    })
}

/// Reads JSON5. A blank text is an empty object.
pub(super) fn parse(text: &str, path: &Path) -> Result<Value, Problem> {
    let problem = |what: String| {
        let mut problem = Problem::new(what);
        problem.file = Some(path.to_owned());
        problem
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        return Err(problem(format!("is longer than {MAX_BYTES} bytes")));
    }
    if text.trim().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    if let Some((line, column)) = too_deep(text) {
        let mut problem = problem(format!("is nested deeper than {MAX_DEPTH} levels"));
        problem.position = Some((line, column));
        return Err(problem);
    }
    let seen = scan::scan(text);
    match json5::from_str::<Value>(text) {
        Ok(tree @ Value::Object(_)) => Ok(tree),
        Ok(other) => Err(problem(format!(
            "must hold one object (got {})",
            super::layers::kind_of(&other)
        ))),
        Err(_) if let Some((open, (line, column))) = seen.unclosed => {
            let mut problem = problem(format!(
                "ends too early: the \"{open}\" opened at {line}:{column} is not closed"
            ));
            problem.position = Some(seen.end);
            Err(problem)
        }
        Err(error) => {
            let what = match error.code() {
                Some(code) => code.to_string(),
                None => crate::layer::printable(&error.to_string(), 200),
            };
            let mut problem = problem(what);
            problem.position = error.position().map(|p| (p.line + 1, p.column + 1));
            Err(problem)
        }
    }
}

/// What the parser itself takes without a word: a key that is there twice, a number that is none.
pub(super) fn unheard(seen: &Scan, path: &Path) -> Vec<Problem> {
    let problem = |what: String, key: &str, at| {
        let mut problem = Problem::new(what);
        problem.file = Some(path.to_owned());
        problem.key = Some(crate::layer::printable(key, 120));
        problem.position = Some(at);
        problem
    };
    let twice = seen.duplicates.iter().map(|(key, first, again)| {
        let what = format!("is there twice, at {}:{} before", first.0, first.1);
        problem(what, key, *again)
    });
    let none = seen.no_numbers.iter();
    let none = none.map(|(key, at)| problem("is no finite number".to_owned(), key, *at));
    twice.chain(none).collect()
}

/// Where brackets nest too deeply. Brackets in texts and comments are counted as well: a config that
/// needs dozens of them unclosed does not exist.
fn too_deep(text: &str) -> Option<(usize, usize)> {
    let (mut line, mut column, mut depth) = (1, 0, 0usize);
    for c in text.chars() {
        column += 1;
        match c {
            '\n' => (line, column) = (line + 1, 0),
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Some((line, column));
        }
    }
    None
}
