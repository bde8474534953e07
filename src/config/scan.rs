//! A config file's text, read for what its values do not tell any more: where each key and value stands,
//! which key is there twice, which bracket was never closed, which number is none.

use std::collections::BTreeMap;

/// Line and column, from 1.
pub(super) type Position = (usize, usize);

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Scan {
    keys: BTreeMap<String, Position>,
    values: BTreeMap<String, Position>,
    /// Keys that are there again, with both places.
    pub(super) duplicates: Vec<(String, Position, Position)>,
    /// Numbers that are not finite.
    pub(super) no_numbers: Vec<(String, Position)>,
    /// The innermost bracket that is open at the end.
    pub(super) unclosed: Option<(char, Position)>,
    /// Where the text ends.
    pub(super) end: Position,
}

impl Scan {
    /// Where the name of a key stands.
    pub(super) fn key(&self, path: &str) -> Option<Position> {
        self.keys.get(path).copied()
    }

    /// Where the value of a key begins.
    pub(super) fn value(&self, path: &str) -> Option<Position> {
        self.values.get(path).copied()
    }
}

#[derive(Debug)]
struct Frame {
    open: char,
    at: Position,
    path: String,
    /// The key that was read last, in an object.
    key: Option<String>,
    expects_key: bool,
    /// The place in a list.
    index: usize,
}

impl Frame {
    fn inner(&self) -> String {
        match (self.open, &self.key) {
            ('[', _) => format!("{}[{}]", self.path, self.index),
            (_, Some(key)) if self.path.is_empty() => key.clone(),
            (_, Some(key)) => format!("{}.{key}", self.path),
            (_, None) => self.path.clone(),
        }
    }
}

/// Reads the text; what is no JSON5 is read as far as it makes sense.
pub(super) fn scan(text: &str) -> Scan {
    let mut scanner = Scanner {
        rest: text.chars().peekable(),
        at: (1, 1),
        stack: Vec::new(),
        seen: Scan::default(),
    };
    scanner.run();
    scanner.seen.end = scanner.at;
    scanner.seen.unclosed = scanner.stack.last().map(|frame| (frame.open, frame.at));
    scanner.seen
}

struct Scanner<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    at: Position,
    stack: Vec<Frame>,
    seen: Scan,
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.at = match c {
            '\n' => (self.at.0 + 1, 1),
            _ => (self.at.0, self.at.1 + 1),
        };
        Some(c)
    }

    fn run(&mut self) {
        while let Some(&c) = self.rest.peek() {
            let at = self.at;
            match c {
                '{' | '[' => {
                    self.next();
                    let path = self.value_begins(at);
                    self.stack.push(Frame {
                        open: c,
                        at,
                        path,
                        key: None,
                        expects_key: c == '{',
                        index: 0,
                    });
                }
                '}' | ']' => {
                    self.next();
                    self.stack.pop();
                }
                ',' => {
                    self.next();
                    if let Some(frame) = self.stack.last_mut() {
                        frame.index += 1;
                        frame.expects_key = frame.open == '{';
                    }
                }
                ':' => {
                    self.next();
                    if let Some(frame) = self.stack.last_mut() {
                        frame.expects_key = false;
                    }
                }
                '"' | '\'' => {
                    let raw = self.quoted(c);
                    let text = json5::from_str::<String>(&raw).unwrap_or(raw);
                    self.word(text, at, false);
                }
                '/' => self.comment(),
                c if c.is_whitespace() || c == '\u{feff}' => {
                    self.next();
                }
                _ => {
                    let text = self.bare();
                    self.word(text, at, true);
                }
            }
        }
    }

    fn value_begins(&mut self, at: Position) -> String {
        let path = self.stack.last().map_or(String::new(), Frame::inner);
        self.seen.values.entry(path.clone()).or_insert(at);
        path
    }

    fn word(&mut self, text: String, at: Position, is_bare: bool) {
        let Some(frame) = self.stack.last_mut().filter(|frame| frame.expects_key) else {
            let path = self.value_begins(at);
            if is_bare && is_no_number(&text) {
                self.seen.no_numbers.push((path, at));
            }
            return;
        };
        frame.key = Some(text);
        frame.expects_key = false;
        let path = frame.inner();
        match self.seen.keys.get(&path) {
            Some(first) => self.seen.duplicates.push((path, *first, at)),
            None => {
                self.seen.keys.insert(path, at);
            }
        }
    }

    /// A quoted text with its quotes.
    fn quoted(&mut self, quote: char) -> String {
        let mut raw = String::new();
        raw.extend(self.next());
        while let Some(c) = self.next() {
            raw.push(c);
            match c {
                '\\' => raw.extend(self.next()),
                c if c == quote => break,
                _ => {}
            }
        }
        raw
    }

    /// A name, a number or a word of the language.
    fn bare(&mut self) -> String {
        let mut text = String::new();
        while let Some(&c) = self.rest.peek() {
            if c.is_whitespace() || "{}[],:\"'/".contains(c) {
                break;
            }
            text.push(c);
            self.next();
        }
        text
    }

    fn comment(&mut self) {
        self.next();
        match self.rest.peek() {
            Some('/') => while self.next().is_some_and(|c| c != '\n') {},
            Some('*') => {
                self.next();
                let mut last = ' ';
                while let Some(c) = self.next() {
                    if (last, c) == ('*', '/') {
                        break;
                    }
                    last = c;
                }
            }
            _ => {}
        }
    }
}

fn is_no_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    match digits {
        "NaN" | "Infinity" => true,
        digits => {
            digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
                && digits.parse::<f64>().is_ok_and(f64::is_infinite)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_and_values_are_found_behind_comments_and_in_lists() {
        let seen = scan("{ // one {\n  a: {'b': \"x, {\"}, /* [ */ c: [1, {d: 2}] }");
        assert_eq!(seen.key("a.b"), Some((2, 7)));
        assert_eq!(seen.value("a.b"), Some((2, 12)));
        assert_eq!(seen.key("c[1].d"), Some((2, 37)));
        assert!(seen.duplicates.is_empty() && seen.unclosed.is_none());
    }

    #[test]
    fn what_is_there_twice_open_or_no_number_is_told_with_its_place() {
        let seen = scan("{ gateway: { port: 18789, port: 18790 } }");
        let twice = ("gateway.port".to_owned(), (1, 14), (1, 27));
        assert_eq!(seen.duplicates, [twice]);
        let seen = scan("{ gateway: { port: 70000 }\n");
        assert_eq!((seen.unclosed, seen.end), (Some(('{', (1, 1))), (2, 1)));
        for (text, is_none) in [
            ("NaN", true),
            ("-Infinity", true),
            ("1e999", true),
            ("0x1f", false),
            ("1e3", false),
        ] {
            let seen = scan(&format!("{{a: {text}}}"));
            assert_eq!(!seen.no_numbers.is_empty(), is_none, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[ -~\\n]{0,200}") {
            let seen = scan(&text);
            let lines = text.matches('\n').count() + 1;
            prop_assert_eq!(seen.end.0, lines);
        }
    }
}
