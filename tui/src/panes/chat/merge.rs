//! What the gateway's transcript says, laid over what is shown: everything once, in its order.
//!
//! Version 4 names its messages (id, number, run, key). Version 3 does not: there messages already
//! read are told apart by role, time and text, and what was only seen live or typed here by role and
//! text, in order.

use std::collections::HashSet;

use super::entry::{End, Entry, EntryId, Kind, Source, ToolEnd};
use super::transcript::Transcript;
use crate::outbox::{Delivery, is_same_message};

/// Lays the newest page over the transcript. A page that shares nothing with what is shown replaces
/// it: more was missed than a page holds. True when nothing older than the page is left.
pub(crate) fn page(
    transcript: &mut Transcript,
    page: Vec<Entry>,
    is_running: impl Fn(&str) -> bool,
) -> bool {
    let known = |page: &[Entry]| {
        transcript
            .entries()
            .iter()
            .rev()
            .any(|shown| page.iter().any(|incoming| is_same(shown, incoming)))
    };
    let has_settled = transcript
        .entries()
        .iter()
        .any(|entry| entry.source == Source::Gateway);
    let is_fresh = !has_settled || !known(&page);
    if has_settled && is_fresh {
        transcript
            .entries_mut()
            .retain(|entry| is_ours_to_keep(entry, &is_running));
    }
    let outcome = lay(transcript, page);
    let first = outcome.first;
    // The page is the whole truth from its first known message on.
    let mut at = 0;
    transcript.entries_mut().retain(|entry| {
        let keep =
            at < first || entry.source != Source::Gateway || outcome.matched.contains(&entry.id);
        at += 1;
        keep
    });
    drop_covered(transcript, &outcome, &is_running);
    is_fresh
}

/// Adds one pushed message: what came with it is known already.
pub(crate) fn last(transcript: &mut Transcript, message: Vec<Entry>) {
    for mut incoming in message {
        let known = transcript
            .entries()
            .iter()
            .rposition(|shown| is_same(shown, &incoming))
            .or_else(|| {
                transcript
                    .entries()
                    .iter()
                    .position(|shown| is_its_source(shown, &incoming))
            });
        if let Some(shown) = known.and_then(|at| transcript.entries_mut().get_mut(at)) {
            settle(shown, incoming);
            continue;
        }
        // A question stands before its answer, even when the answer was heard first.
        let run = incoming.run().map(str::to_owned);
        let answer = transcript
            .entries()
            .iter()
            .position(|shown| run.is_some() && shown.run() == run.as_deref());
        match answer {
            Some(at) => {
                incoming.id = transcript.new_id();
                transcript.entries_mut().insert(at, incoming);
            }
            None => {
                let id = transcript.push(incoming.kind.clone(), Source::Gateway, incoming.at);
                if let Some(entry) = transcript.get_mut(id) {
                    entry.seq = incoming.seq;
                    entry.message_id = incoming.message_id;
                }
            }
        }
    }
}

/// Adds messages that came after what is shown: a page by cursor.
pub(crate) fn tail(
    transcript: &mut Transcript,
    page: Vec<Entry>,
    is_running: impl Fn(&str) -> bool,
) {
    // Messages of a page by cursor come after every settled one but those it repeats.
    let settled = transcript
        .entries()
        .iter()
        .rposition(|entry| {
            entry.source == Source::Gateway && !page.iter().any(|incoming| is_same(entry, incoming))
        })
        .map_or(0, |at| at + 1);
    let repeated = transcript
        .entries()
        .iter()
        .position(|entry| page.iter().any(|incoming| is_same(entry, incoming)))
        .unwrap_or(settled);
    let outcome = lay_from(transcript, page, settled.min(repeated));
    drop_covered(transcript, &outcome, &is_running);
}

/// Puts an older page in front.
pub(crate) fn older(transcript: &mut Transcript, page: Vec<Entry>) {
    let mut fresh = Vec::new();
    for mut incoming in page {
        if transcript
            .entries()
            .iter()
            .any(|shown| is_same(shown, &incoming))
        {
            continue;
        }
        incoming.id = transcript.new_id();
        fresh.push(incoming);
    }
    transcript.entries_mut().splice(0..0, fresh);
}

fn is_ours_to_keep(entry: &Entry, is_running: &impl Fn(&str) -> bool) -> bool {
    match (&entry.kind, entry.source) {
        (_, Source::Gateway) | (Kind::Note { .. }, _) => false,
        (Kind::User { .. }, _) => true,
        _ => entry.run().is_some_and(is_running),
    }
}

#[derive(Default)]
struct Outcome {
    /// Entries that the page holds.
    matched: HashSet<EntryId>,
    /// Where the first one stands that was shown before.
    first: usize,
    /// Runs whose answer the page holds.
    answered: HashSet<String>,
}

fn lay(transcript: &mut Transcript, page: Vec<Entry>) -> Outcome {
    lay_from(transcript, page, 0)
}

fn lay_from(transcript: &mut Transcript, page: Vec<Entry>, from: usize) -> Outcome {
    let mut outcome = Outcome {
        first: usize::MAX,
        ..Outcome::default()
    };
    let mut at = from;
    let mut run: Option<String> = None;
    for mut incoming in page {
        if matches!(incoming.kind, Kind::User { .. }) {
            run = None;
        }
        if let (Kind::Assistant { run: own, .. }, Some(run)) = (&mut incoming.kind, &run)
            && own.is_none()
        {
            *own = Some(run.clone());
        }
        let rest = transcript.entries().get(at..).unwrap_or_default();
        let found = rest
            .iter()
            .position(|shown| is_same(shown, &incoming))
            .or_else(|| {
                rest.iter()
                    .position(|shown| is_its_source(shown, &incoming))
            });
        let place = match found {
            Some(offset) => {
                let place = at + offset;
                outcome.first = outcome.first.min(place);
                if let Some(shown) = transcript.entries_mut().get_mut(place) {
                    settle(shown, incoming);
                }
                place
            }
            None => {
                let place = at + notes_before(rest, incoming.at);
                incoming.id = transcript.new_id();
                transcript.entries_mut().insert(place, incoming);
                place
            }
        };
        if let Some(entry) = transcript.entries().get(place) {
            outcome.matched.insert(entry.id);
            match &entry.kind {
                Kind::User { key, .. } => run.clone_from(key),
                Kind::Assistant { run: Some(run), .. } => {
                    outcome.answered.insert(run.clone());
                }
                _ => {}
            }
        }
        at = place + 1;
    }
    outcome
}

/// Our own lines that are older than a message stay before it.
fn notes_before(rest: &[Entry], at: Option<i64>) -> usize {
    rest.iter()
        .take_while(|entry| {
            matches!(entry.kind, Kind::Note { .. })
                && matches!((entry.at, at), (Some(noted), Some(at)) if noted <= at)
        })
        .count()
}

/// What was seen live of a run that is over goes, once the transcript holds its answer.
fn drop_covered(
    transcript: &mut Transcript,
    outcome: &Outcome,
    is_running: &impl Fn(&str) -> bool,
) {
    transcript.entries_mut().retain(|entry| {
        let Some(run) = entry.run() else { return true };
        let covered = entry.source == Source::Live
            && !outcome.matched.contains(&entry.id)
            && outcome.answered.contains(run)
            && !is_running(run);
        !covered
            || matches!(
                &entry.kind,
                Kind::Assistant {
                    end: End::Failed(_),
                    ..
                }
            )
    });
}

/// Whether two entries are one message of the gateway's transcript.
fn is_same(shown: &Entry, incoming: &Entry) -> bool {
    if let (Some(a), Some(b)) = (&shown.message_id, &incoming.message_id) {
        return a == b;
    }
    match (&shown.kind, &incoming.kind) {
        (Kind::Tool(a), Kind::Tool(b)) if !a.call.is_empty() || !b.call.is_empty() => {
            a.call == b.call
        }
        (Kind::User { key: Some(a), .. }, Kind::User { key: Some(b), .. }) => a == b,
        (a, b) => {
            shown.source == Source::Gateway
                && std::mem::discriminant(a) == std::mem::discriminant(b)
                && shown.seq == incoming.seq
                && shown.at == incoming.at
                && shown.text() == incoming.text()
        }
    }
}

/// Whether what was typed here or seen live is what the transcript now holds without naming it.
fn is_its_source(shown: &Entry, incoming: &Entry) -> bool {
    if shown.source == Source::Gateway {
        return false;
    }
    match (&shown.kind, &incoming.kind) {
        (
            Kind::User {
                text,
                delivery,
                key: Some(_),
            },
            Kind::User {
                text: theirs,
                key: None,
                ..
            },
        ) => {
            !matches!(delivery, Some(Delivery::Queued))
                && is_same_message(text, shown.at, theirs, incoming.at)
        }
        (
            Kind::Assistant { text, run, end },
            Kind::Assistant {
                text: theirs,
                run: their_run,
                end: their_end,
            },
        ) => {
            let (text, theirs) = (text.trim(), theirs.trim());
            match (run, their_run) {
                (Some(a), Some(b)) if a != b => false,
                (Some(_), Some(_)) if text.is_empty() && theirs.is_empty() => {
                    matches!((end, their_end), (End::Failed(_), End::Failed(_)))
                }
                (Some(_), Some(_)) => {
                    !text.is_empty() && (theirs.starts_with(text) || text.starts_with(theirs))
                }
                _ => {
                    text == theirs
                        || (*end == End::Running && !text.is_empty() && theirs.starts_with(text))
                }
            }
        }
        _ => false,
    }
}

/// Takes over what the gateway's transcript says about an entry; its name stays.
fn settle(shown: &mut Entry, incoming: Entry) {
    let unchanged = shown.kind == incoming.kind;
    shown.source = Source::Gateway;
    shown.seq = incoming.seq.or(shown.seq);
    shown.message_id = incoming.message_id.or(shown.message_id.take());
    shown.at = incoming.at.or(shown.at);
    if unchanged {
        return;
    }
    match (&mut shown.kind, incoming.kind) {
        (
            Kind::User {
                text,
                key,
                delivery,
            },
            Kind::User {
                text: theirs,
                key: their_key,
                ..
            },
        ) => {
            // A gateway may put its own notes around the words; what was typed is what is shown.
            if delivery.is_none() {
                *text = theirs;
            }
            *key = key.take().or(their_key);
            if delivery.is_some() {
                *delivery = Some(Delivery::Accepted);
            }
        }
        (
            Kind::Assistant { text, run, end },
            Kind::Assistant {
                text: theirs,
                run: their_run,
                end: their_end,
            },
        ) => {
            *run = run.take().or(their_run);
            if *end == End::Running && text.len() > theirs.len() {
                // The stream is ahead of the transcript.
            } else {
                *text = theirs;
            }
            if matches!(end, End::Done) {
                *end = their_end;
            }
        }
        (Kind::Tool(tool), Kind::Tool(theirs)) => {
            tool.result = theirs.result.or(tool.result.take());
            if theirs.end != ToolEnd::Unknown
                && !matches!(tool.end, ToolEnd::Good(_) | ToolEnd::Bad(_))
            {
                tool.end = theirs.end;
            }
            if tool.arguments.is_empty() {
                tool.arguments = theirs.arguments;
            }
            tool.run = tool.run.take().or(theirs.run);
        }
        (kind, theirs) => *kind = theirs,
    }
    shown.touch();
}
