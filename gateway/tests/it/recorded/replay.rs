//! Sends what an official client was recorded to send, and holds the answers and events against those that it got.

use std::collections::{BTreeSet, HashMap, VecDeque};

use serde_json::{Value, json};

use super::shape::{self, Shape};
use super::table::{Difference, How, Row, verdict};
use crate::support::Client;

/// Members whose recorded values stand for values of ours: in later calls ours is sent in their place.
const ADAPTED: [&str; 6] = ["requestId", "deviceId", "nodeId", "token", "hash", "id"];

/// Recordings of one version: all of its files, as pairs of a file's name and its text.
pub type Files = &'static [(&'static str, &'static str)];

/// A call with its answers.
#[derive(Debug, Clone)]
pub struct Pair {
    pub method: String,
    pub params: Value,
    answers: Vec<Value>,
}

impl Pair {
    /// The last answer that was recorded.
    pub fn answer(&self) -> &Value {
        self.answers.last().unwrap()
    }
}

/// A call that was sent and is not answered yet.
pub struct Sent {
    id: String,
    pair: Pair,
}

/// The recorded calls of one subject, in their order.
pub struct Replay {
    pairs: VecDeque<Pair>,
    /// What answers of the version look like, by method and kind.
    answers: HashMap<String, Shape>,
    /// What its events look like, by kind.
    events: HashMap<String, Vec<Value>>,
    /// Recorded values, and ours in their place, as answers had them.
    learned: HashMap<String, Value>,
    /// The same, as a test says; these count before the others.
    told: HashMap<String, Value>,
    found: BTreeSet<Difference>,
    /// Where answers and events have what others have too.
    parts: &'static [Part],
}

/// Of what, where in it, and the name of what is there.
pub type Part = (&'static str, &'static str, &'static str);

impl Replay {
    /// What was recorded of `subject`.
    pub fn of(files: Files, subject: &str) -> Self {
        let mut replay = Self {
            pairs: VecDeque::new(),
            answers: HashMap::new(),
            events: HashMap::new(),
            learned: HashMap::new(),
            told: HashMap::new(),
            found: BTreeSet::new(),
            parts: &[],
        };
        for (name, text) in files {
            for line in text.lines() {
                let row: Value = serde_json::from_str(line).unwrap();
                replay.take_up(&row, *name == subject);
            }
        }
        assert!(
            !replay.pairs.is_empty(),
            "nothing was recorded of {subject}"
        );
        replay
    }

    fn take_up(&mut self, row: &Value, is_subject: bool) {
        if row["frame"].is_object() {
            let kind = event_kind(&row["frame"]);
            let known = self.events.entry(kind).or_default();
            known.push(row["frame"].clone());
            return;
        }
        let method = row["call"]["method"].as_str().unwrap().to_owned();
        let answers = row["answers"].as_array().unwrap().clone();
        for answer in answers.iter().filter(|answer| answer["ok"] == true) {
            let kind = answer_kind(&method, answer);
            let known = self.answers.entry(kind).or_default();
            known.add(&answer["payload"]);
        }
        if is_subject {
            self.pairs.push_back(Pair {
                method,
                params: row["call"]["params"].clone(),
                answers,
            });
        }
    }

    /// Differences in these parts are differences of what is there, wherever it is.
    pub fn with_parts(mut self, parts: &'static [Part]) -> Self {
        self.parts = parts;
        self
    }

    /// The method of the next call.
    pub fn peek(&self) -> Option<&str> {
        self.pairs.front().map(|pair| pair.method.as_str())
    }

    /// The next call, which must be of this method, without sending it.
    pub fn take(&mut self, method: &str) -> Pair {
        let pair = self.pairs.pop_front().expect("a recorded call");
        assert_eq!(pair.method, method, "the next recorded call");
        pair
    }

    /// From now on `ours` is sent where `recorded` was.
    pub fn stands_for(&mut self, recorded: &str, ours: &Value) {
        self.told.insert(recorded.to_owned(), ours.clone());
    }

    /// Sends the next call, which must be of this method; the last answer.
    pub async fn next(&mut self, client: &mut Client, method: &str) -> Value {
        let sent = self.send(client, method).await;
        self.answered(client, sent).await
    }

    /// Sends the calls up to, but not including, the next one of `method`; all that are left without one.
    pub async fn until(&mut self, client: &mut Client, method: Option<&str>) {
        while let Some(next) = self.peek().map(str::to_owned) {
            if Some(next.as_str()) == method {
                return;
            }
            self.next(client, &next).await;
        }
        assert_eq!(method, None, "no such call is left");
    }

    /// Sends so many calls.
    pub async fn some(&mut self, client: &mut Client, calls: usize) {
        for _ in 0..calls {
            let next = self.peek().expect("a recorded call").to_owned();
            self.next(client, &next).await;
        }
    }

    /// Sends the next call, which must be of this method.
    pub async fn send(&mut self, client: &mut Client, method: &str) -> Sent {
        let pair = self.take(method);
        self.send_pair(client, pair).await
    }

    /// Sends a call that was taken.
    pub async fn send_pair(&mut self, client: &mut Client, pair: Pair) -> Sent {
        let mut params = pair.params.clone();
        adapt(&mut params, &self.adapted());
        let id = client.start(&pair.method, params).await;
        Sent { id, pair }
    }

    /// Waits for as many answers as were recorded, and compares each; the last one.
    pub async fn answered(&mut self, client: &mut Client, sent: Sent) -> Value {
        let mut last = Value::Null;
        for recorded in &sent.pair.answers {
            last = client.response(&sent.id).await;
            self.compare(&sent.pair.method, recorded, &last);
        }
        last
    }

    /// Compares an answer of ours with a recorded one.
    pub fn compare(&mut self, method: &str, recorded: &Value, ours: &Value) {
        self.learn(recorded, ours);
        if recorded["ok"] != ours["ok"] {
            let detail = if ours["ok"] == true {
                &ours["payload"]
            } else {
                &ours["error"]
            };
            self.note(method, How::Outcome, "", detail);
            return;
        }
        if recorded["ok"] == true {
            let kind = answer_kind(method, recorded);
            let known = &self.answers[&kind];
            let found = shape::differences(&ours["payload"], &recorded["payload"], known);
            self.note_all(&kind, found);
            return;
        }
        for member in ["code", "message"] {
            let mut theirs = recorded["error"][member].to_string();
            for (recorded, ours) in self.adapted() {
                theirs = theirs.replace(&recorded, ours.as_str().unwrap_or_default());
            }
            let ours = ours["error"][member].to_string();
            if ours != theirs {
                self.note(
                    method,
                    How::Words,
                    "",
                    &json!({"ours": ours, "theirs": theirs}),
                );
            }
        }
        let known = Shape::of(&recorded["error"]);
        let found = shape::differences(&ours["error"], &recorded["error"], &known);
        self.note_all(&format!("{method} refused"), found);
    }

    /// Compares every event that these clients were sent with the recorded ones of its kind; each of `kinds`
    /// must be among them. Kinds in `unrecorded` may come, others may not.
    pub fn events(&mut self, clients: &[&Client], kinds: &[&str], unrecorded: &[&str]) {
        let mut seen = BTreeSet::new();
        let frames = clients.iter().flat_map(|client| &client.seen);
        for frame in frames.filter(|frame| frame["type"] == "event") {
            let kind = event_kind(frame);
            match self.events.get(&kind) {
                None if unrecorded.contains(&kind.as_str()) => {}
                None => self.note(&kind, How::Added, "", frame),
                Some(known) => {
                    let mut shape = Shape::default();
                    known.iter().for_each(|known| shape.add(known));
                    let mut ours = frame.clone();
                    ours.as_object_mut().unwrap().remove("type");
                    let found = shape::differences_from_known(&ours, &shape);
                    self.note_all(&kind, found);
                }
            }
            seen.insert(kind);
        }
        for kind in kinds {
            assert!(seen.contains(*kind), "no client was sent {kind}: {seen:?}");
        }
    }

    /// Every call was sent, and the rows are the differences that there are.
    pub fn settle(self, rows: &[&[Row]]) {
        let left: Vec<&str> = self.pairs.iter().map(|pair| pair.method.as_str()).collect();
        assert!(
            left.is_empty(),
            "calls were recorded and not sent: {left:?}"
        );
        let complaints = verdict(&self.found, rows);
        assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    }

    fn adapted(&self) -> HashMap<String, Value> {
        let mut all = self.learned.clone();
        all.extend(self.told.clone());
        all
    }

    fn note(&mut self, of: &str, how: How, path: &str, detail: &Value) {
        self.found.insert(Difference {
            of: of.to_owned(),
            how,
            path: path.to_owned(),
            detail: detail.to_string().chars().take(400).collect(),
        });
    }

    fn note_all(&mut self, of: &str, found: Vec<(How, String)>) {
        for (how, path) in found {
            match self.part_at(of, &path) {
                None => self.note(of, how, &path, &Value::Null),
                Some((name, rest)) if how != How::Added || !self.knows(name, rest) => {
                    self.note(name, how, rest, &Value::Null);
                }
                Some(_) => {}
            }
        }
    }

    /// The part that a path is in, and the path from there.
    fn part_at<'a>(&self, of: &str, path: &'a str) -> Option<(&'static str, &'a str)> {
        self.parts.iter().find_map(|(whole, at, name)| {
            let rest = path.strip_prefix(at)?;
            (*whole == of && rest.starts_with('/')).then_some((*name, rest))
        })
    }

    /// Whether such a part was recorded with this member, wherever.
    fn knows(&self, name: &str, rest: &str) -> bool {
        let mut of_it = self.parts.iter().filter(|(.., part)| *part == name);
        let has = |whole: &str, at: &str| {
            let path = format!("{at}{rest}");
            let mut events = self.events.get(whole).into_iter().flatten();
            let answers = self.answers.get(whole);
            answers.is_some_and(|shape| shape.has(&path))
                || events.any(|frame| Shape::of(frame).has(&path))
        };
        of_it.any(|(whole, at, _)| has(whole, at))
    }

    /// Notes which values of ours stand for recorded ones.
    fn learn(&mut self, recorded: &Value, ours: &Value) {
        match (recorded, ours) {
            (Value::Object(recorded), Value::Object(ours)) => {
                for (name, value) in recorded {
                    let Some(ours) = ours.get(name) else { continue };
                    match value.as_str() {
                        Some(text) if ADAPTED.contains(&name.as_str()) && ours.is_string() => {
                            self.learned.insert(text.to_owned(), ours.clone());
                        }
                        _ => self.learn(value, ours),
                    }
                }
            }
            (Value::Array(recorded), Value::Array(ours)) => {
                for (recorded, ours) in recorded.iter().zip(ours) {
                    self.learn(recorded, ours);
                }
            }
            _ => {}
        }
    }
}

/// Puts our values where recorded ones are.
fn adapt(value: &mut Value, adapted: &HashMap<String, Value>) {
    match value {
        Value::String(text) => {
            if let Some(ours) = adapted.get(text) {
                *value = ours.clone();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| adapt(item, adapted)),
        Value::Object(members) => members.values_mut().for_each(|item| adapt(item, adapted)),
        _ => {}
    }
}

/// A method that answers twice has two kinds of answers.
fn answer_kind(method: &str, answer: &Value) -> String {
    if answer["payload"]["status"] == "accepted" {
        format!("{method} accepted")
    } else {
        method.to_owned()
    }
}

/// Every kind of event that was recorded is in one of these lists, and nothing else.
pub fn every_event_is_in(files: Files, lists: &[&[&str]]) {
    let (_, text) = files.iter().find(|(name, _)| *name == "events").unwrap();
    let recorded: BTreeSet<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|row| event_kind(&row["frame"]))
        .collect();
    let ours = lists.iter().copied().flatten();
    let ours: BTreeSet<String> = ours.map(|kind| (*kind).to_owned()).collect();
    assert_eq!(ours, recorded);
}

/// The name of an event, with what tells its shapes apart.
fn event_kind(frame: &Value) -> String {
    let (name, payload) = (
        frame["event"].as_str().unwrap_or_default(),
        &frame["payload"],
    );
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = match name {
        "chat" => format!("chat {}", text(&payload["state"])),
        "agent" => {
            let phase = text(&payload["data"]["phase"]);
            format!("agent {} {phase}", text(&payload["stream"]))
        }
        name => name.to_owned(),
    };
    kind.trim_end().to_owned()
}
