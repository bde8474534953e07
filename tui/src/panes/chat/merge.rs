//! What the gateway's transcript says, laid over what is shown: everything once, in its order.
//!
//! Version 4 names its messages (id, number, run, key). Version 3 does not: there messages already
//! read are told apart by role, time and text, and what was only seen live or typed here by role and
//! text, in order.

use std::collections::{HashMap, HashSet, VecDeque};

use clawline::protocol::methods::chat::is_cut_of;

use super::entry::{End, Entry, Kind, Source, Tool, ToolEnd};
use super::transcript::Transcript;
use crate::outbox::{Delivery, is_same_message};

/// Lays the newest page over the transcript. A page that shares nothing with what is shown replaces
/// it: more was missed than a page holds. True when nothing older than the page is left.
pub(crate) fn page(
    transcript: &mut Transcript,
    page: Vec<Entry>,
    is_running: impl Fn(&str) -> bool,
) -> bool {
    let index = Index::of(&page);
    let is_settled = |entry: &Entry| entry.source == Source::Gateway;
    let has_settled = transcript.entries().iter().any(is_settled);
    let is_fresh = !has_settled
        || !transcript
            .entries()
            .iter()
            .any(|entry| index.find(&page, entry).is_some());
    if has_settled && is_fresh {
        transcript
            .entries_mut()
            .retain(|entry| is_ours_to_keep(entry, &is_running));
    }
    lay(transcript, page, Reach::Whole, &is_running);
    is_fresh
}

/// Adds messages that came after what is shown: a page by cursor.
pub(crate) fn tail(
    transcript: &mut Transcript,
    page: Vec<Entry>,
    is_running: impl Fn(&str) -> bool,
) {
    lay(transcript, page, Reach::End, &is_running);
}

/// Adds one pushed message: what came before it is known already.
pub(crate) fn last(transcript: &mut Transcript, message: Vec<Entry>) {
    for mut incoming in message {
        let known = transcript
            .entries()
            .iter()
            .rposition(|shown| is_same(shown, &incoming))
            .or_else(|| {
                let mut entries = transcript.entries().iter();
                entries.position(|shown| is_its_source(shown, &incoming))
            });
        if let Some(shown) = known.and_then(|at| transcript.entries_mut().get_mut(at)) {
            settle(shown, incoming);
            continue;
        }
        // A question stands before its answer, even when the answer was heard first; and before what
        // was typed here and is not in the gateway's transcript yet.
        let run = incoming.run().map(str::to_owned);
        let place = transcript.entries().iter().position(|shown| {
            (run.is_some() && shown.run() == run.as_deref())
                || (is_unsettled(shown)
                    && matches!(
                        shown.kind,
                        Kind::User {
                            delivery: Some(Delivery::Queued | Delivery::Sent),
                            ..
                        }
                    ))
        });
        incoming.id = transcript.new_id();
        let place = place.unwrap_or(transcript.entries().len());
        transcript.entries_mut().insert(place, incoming);
    }
}

/// Puts an older page in front.
pub(crate) fn older(transcript: &mut Transcript, page: Vec<Entry>) {
    let index = Index::of(&page);
    let mut known: HashSet<usize> = HashSet::new();
    for shown in transcript.entries() {
        known.extend(index.find(&page, shown));
    }
    let mut fresh = Vec::new();
    for (at, mut incoming) in page.into_iter().enumerate() {
        if !known.contains(&at) {
            incoming.id = transcript.new_id();
            fresh.push(incoming);
        }
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

/// Typed here, and not yet found in the gateway's transcript.
fn is_unsettled(entry: &Entry) -> bool {
    entry.source == Source::Local && matches!(entry.kind, Kind::User { .. })
}

/// How much a page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Everything from its first message on; what it does not hold there is gone.
    Whole,
    /// Only what came last.
    End,
}

/// Finds the messages of a page by what names them, without comparing everything with everything.
#[derive(Default)]
struct Index {
    ids: HashMap<String, usize>,
    keys: HashMap<String, usize>,
    calls: HashMap<String, usize>,
    times: HashMap<(Option<i64>, Option<u64>), Vec<usize>>,
}

impl Index {
    fn of(page: &[Entry]) -> Self {
        let mut index = Self::default();
        for (at, entry) in page.iter().enumerate() {
            if let Some(id) = &entry.message_id {
                index.ids.insert(id.clone(), at);
            }
            match &entry.kind {
                Kind::User { key: Some(key), .. } => {
                    index.keys.insert(key.clone(), at);
                }
                Kind::Tool(tool) if !tool.call.is_empty() => {
                    index.calls.insert(tool.call.clone(), at);
                }
                _ => {}
            }
            index
                .times
                .entry((entry.at, entry.seq))
                .or_default()
                .push(at);
        }
        index
    }

    /// Where the page holds the message that an entry shows.
    fn find(&self, page: &[Entry], shown: &Entry) -> Option<usize> {
        let by_id = shown.message_id.as_ref().and_then(|id| self.ids.get(id));
        let by_name = match &shown.kind {
            Kind::User { key: Some(key), .. } => self.keys.get(key),
            Kind::Tool(tool) => self.calls.get(&tool.call),
            _ => None,
        };
        let by_time = || {
            let there = self.times.get(&(shown.at, shown.seq))?;
            there.iter().find(|at| {
                page.get(**at)
                    .is_some_and(|incoming| is_same(shown, incoming))
            })
        };
        let found = by_id.or(by_name).or_else(by_time).copied()?;
        page.get(found)
            .is_some_and(|incoming| is_same(shown, incoming))
            .then_some(found)
    }
}

/// The places of a new order: what stands before the page, between its messages, and behind it.
struct Order {
    before: Vec<Entry>,
    slots: Vec<Option<Entry>>,
    between: Vec<Vec<Entry>>,
    behind: Vec<Entry>,
}

/// Lays a page over the transcript. The page gives the order of what it holds; lines of ours and what
/// is only seen live stay behind the message that they followed; what waits stands at the end.
fn lay(
    transcript: &mut Transcript,
    page: Vec<Entry>,
    reach: Reach,
    is_running: &impl Fn(&str) -> bool,
) {
    let mut page = page;
    let pairs = pair(transcript.entries(), &mut page);
    let shown = std::mem::take(transcript.entries_mut());
    let settled = |at: &usize| {
        shown
            .get(*at)
            .is_some_and(|entry| entry.source == Source::Gateway)
    };
    let first_known = (0..shown.len())
        .filter(settled)
        .find(|at| pairs.contains_key(at));
    let start = match reach {
        Reach::Whole => first_known.unwrap_or(0),
        Reach::End => {
            let last_old = (0..shown.len())
                .filter(settled)
                .rfind(|at| !pairs.contains_key(at));
            let behind_old = last_old.map_or(0, |at| at + 1);
            first_known.map_or(behind_old, |known| known.min(behind_old))
        }
    };
    let waiting: HashSet<String> = shown
        .iter()
        .enumerate()
        .filter(|(at, entry)| is_unsettled(entry) && !pairs.contains_key(at))
        .filter_map(|(_, entry)| entry.run().map(str::to_owned))
        .collect();
    let mut anchors: HashMap<String, usize> = HashMap::new();
    let mut answered: HashSet<String> = HashSet::new();
    for (place, incoming) in page.iter().enumerate() {
        if let Some(run) = incoming.run() {
            anchors.insert(run.to_owned(), place);
            if matches!(incoming.kind, Kind::Assistant { .. }) {
                answered.insert(run.to_owned());
            }
        }
    }
    let mut order = Order {
        before: Vec::new(),
        slots: page.iter().map(|_| None).collect(),
        between: page.iter().map(|_| Vec::new()).collect(),
        behind: Vec::new(),
    };
    let mut last: Option<usize> = None;
    // A line of ours stays behind what it followed, also when that waits.
    let mut follows_behind = false;
    for (at, entry) in shown.into_iter().enumerate() {
        if matches!(entry.kind, Kind::Note { .. }) && follows_behind {
            order.behind.push(entry);
            continue;
        }
        follows_behind = false;
        if let Some(place) = pairs.get(&at) {
            last = Some(*place);
            if let Some(slot) = order.slots.get_mut(*place) {
                *slot = Some(entry);
            }
            continue;
        }
        let run = entry.run().map(str::to_owned);
        let is_covered = entry.source == Source::Live
            && !matches!(
                &entry.kind,
                Kind::Assistant {
                    end: End::Failed(_),
                    ..
                }
            )
            && run
                .as_ref()
                .is_some_and(|run| answered.contains(run) && !is_running(run));
        let is_gone = reach == Reach::Whole && at >= start && entry.source == Source::Gateway;
        if is_covered || is_gone {
            // The page says it better, or says that it is no more.
            continue;
        }
        let is_waiting =
            is_unsettled(&entry) || run.as_ref().is_some_and(|run| waiting.contains(run));
        let is_live = entry.source == Source::Live;
        let anchor = run
            .as_ref()
            .filter(|_| is_live)
            .and_then(|run| anchors.get(run));
        let goes_on = is_live && run.as_ref().is_some_and(|run| is_running(run));
        let place = match (anchor, last) {
            (Some(anchor), _) => Some(*anchor),
            (None, _) if is_waiting || goes_on => {
                order.behind.push(entry);
                follows_behind = true;
                continue;
            }
            (None, last) if at >= start => last,
            (None, _) => None,
        };
        match place.and_then(|place| order.between.get_mut(place)) {
            Some(followers) => followers.push(entry),
            None => order.before.push(entry),
        }
    }
    put_in_order(transcript, page, order);
}

/// Pairs shown entries with messages of the page, by name or, where there is none, by what they say.
/// On the way an answer without a run gets that of the question before it, where there is one alone.
fn pair(shown: &[Entry], page: &mut [Entry]) -> HashMap<usize, usize> {
    let index = Index::of(page);
    let mut pairs: HashMap<usize, usize> = HashMap::new();
    let mut taken: HashMap<usize, usize> = HashMap::new();
    for (at, entry) in shown.iter().enumerate() {
        if let Some(place) = index.find(page, entry)
            && !taken.contains_key(&place)
        {
            pairs.insert(at, place);
            taken.insert(place, at);
        }
    }
    let mut loose: Vec<usize> = (0..shown.len())
        .filter(|at| !pairs.contains_key(at))
        .filter(|at| {
            shown
                .get(*at)
                .is_some_and(|entry| entry.source != Source::Gateway)
        })
        .collect();
    // Questions without an answer yet; two of them, and nobody can say whose answer comes next.
    let mut asked: Vec<String> = Vec::new();
    let mut answering: Option<String> = None;
    for (place, incoming) in page.iter_mut().enumerate() {
        let mut known = taken.get(&place).copied();
        let mut find = |incoming: &Entry| {
            let is_source = |at: &usize| {
                shown
                    .get(*at)
                    .is_some_and(|entry| is_its_source(entry, incoming))
            };
            let found = loose.iter().position(is_source)?;
            let at = loose.remove(found);
            pairs.insert(at, place);
            Some(at)
        };
        if known.is_none() {
            known = find(incoming);
        }
        let run_of_shown = |at: usize| shown.get(at)?.run().map(str::to_owned);
        match &mut incoming.kind {
            Kind::User { key, .. } => {
                asked.extend(key.clone().or_else(|| known.and_then(run_of_shown)));
                continue;
            }
            Kind::Assistant { run, .. } | Kind::Tool(Tool { run, .. }) if run.is_none() => {
                let alone = match asked.as_slice() {
                    [] => answering.clone(),
                    [one] => Some(one.clone()),
                    _ => None,
                };
                *run = known.and_then(run_of_shown).or(alone);
            }
            _ => {}
        }
        if known.is_none() {
            find(incoming);
        }
        if let Some(run) = incoming.run() {
            asked.retain(|asked| asked != run);
            answering = Some(run.to_owned());
        }
    }
    pairs
}

/// Builds the transcript anew. Lines of ours that are younger than the next message stand behind it.
fn put_in_order(transcript: &mut Transcript, page: Vec<Entry>, order: Order) {
    let mut out = order.before;
    let mut notes: VecDeque<Entry> = VecDeque::new();
    let followers = order.slots.into_iter().zip(order.between);
    for (mut incoming, (slot, followers)) in page.into_iter().zip(followers) {
        while notes.front().is_some_and(
            |note| !matches!((note.at, incoming.at), (Some(note), Some(at)) if note > at),
        ) {
            out.extend(notes.pop_front());
        }
        match slot {
            Some(mut shown) => {
                settle(&mut shown, incoming);
                out.push(shown);
            }
            None => {
                incoming.id = transcript.new_id();
                out.push(incoming);
            }
        }
        for follower in followers {
            match follower.kind {
                Kind::Note { .. } => notes.push_back(follower),
                _ => out.push(follower),
            }
        }
    }
    out.extend(notes);
    out.extend(order.behind);
    *transcript.entries_mut() = out;
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
                _ if !text.is_empty() && is_cut_of(theirs, text) => true,
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
            let is_ahead = *end == End::Running && text.len() > theirs.len();
            // What was heard live is more than a text that was cut for history.
            if !is_ahead && !is_cut_of(&theirs, text) {
                *text = theirs;
            }
            if matches!(end, End::Done | End::Silent) {
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
