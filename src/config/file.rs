//! A config file's text as a tree, or the line and column where it stops making sense.

use std::path::Path;

use serde_json::{Map, Value};

use super::check::Problem;

/// Longest file that is looked at.
const MAX_BYTES: usize = 1024 * 1024;

/// Deepest nesting; a parser that calls itself must not be driven off its stack.
const MAX_DEPTH: usize = 64;

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
    match json5::from_str::<Value>(text) {
        Ok(tree @ Value::Object(_)) => Ok(tree),
        Ok(other) => Err(problem(format!(
            "must hold one object (got {})",
            super::layers::kind_of(&other)
        ))),
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
