//! `clawline node run`: holds the connection of a node, prints a line a change, and asks the person at
//! this terminal about programs.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Instant;

use clawline::client::Client;
use clawline::identity::Identity;
use clawline::layer::{Layer, LayerError, printable};
use clawline::owner_file;
use clawline::tunnel::status::TunnelStatus;
use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::ask::{self, Asking};
use super::connect::{fail, fail_early, print_note};
use super::context::Context;
use super::failure::{Failure, HUNG_UP, INTERRUPTED, TERMINATED};
use super::node::{AskAt, Run};
use super::output;
use super::signals::{HangUp, TunnelSignal, TunnelSignals};
use super::tunnel_only::lines::{millis, say, trouble};
use crate::link::{Link, LinkRequest, LinkView, NodeOffer, UsageError};
use crate::node_host::policy::PolicyFile;
use crate::node_host::{Desk, DeskOptions, Host, News, PATH, Person, Question, Roots, Said};

/// Lines that may wait to be printed.
const NEWS: usize = 64;
/// Questions that may wait for a person; more are refused.
const QUESTIONS: usize = 8;
/// Longest note of a lock's holder.
const MAX_NOTE: u64 = 64;

pub(super) async fn run(context: &Context, args: &Run, policy: PolicyFile) -> u8 {
    // First, so that none of them ends the process with something still running.
    let mut signals = TunnelSignals::listen();
    let request = match context.request(None) {
        Ok(request) => request,
        Err(error) => return fail_early(context, None, error.into()),
    };
    let label = request.label.clone();
    let asking = Asking::start();
    let interrupted = CancellationToken::new();
    let node = match Node::start(context, args, policy, request, &asking, &interrupted) {
        Ok(node) => node,
        Err(failure) => return fail_early(context, Some(&label), failure),
    };
    let stop = CancellationToken::new();
    let host = Host::new(node.client.clone(), node.desk.clone(), node.news_tx.clone());
    let mut work = tokio::spawn(host.run(node.client.events(), stop.clone()));
    let view = node.link.view();
    let end = {
        let following = node.follow(context, &label);
        tokio::pin!(following);
        loop {
            tokio::select! {
                failure = &mut following => break End::Failed(failure),
                signal = signals.next() => match (signal, signals.hang_up) {
                    (TunnelSignal::Terminate, _) => break End::Asked(TERMINATED),
                    (TunnelSignal::Interrupt, _) => break End::Asked(INTERRUPTED),
                    (TunnelSignal::HangUp, HangUp::Ends) => break End::Asked(HUNG_UP),
                    (TunnelSignal::HangUp, HangUp::Reconnects) | (TunnelSignal::Report, _) => {
                        node.link.reconnect_now();
                    }
                },
                () = interrupted.cancelled() => break End::Asked(INTERRUPTED),
                () = asking.interrupted() => break End::Asked(INTERRUPTED),
            }
        }
    };
    stop.cancel();
    let _ = (&mut work).await;
    node.link.stop().await;
    match end {
        End::Asked(code) => {
            say(context, &label, "stopped", &[]);
            code
        }
        End::Failed(failure) => {
            let view = view.borrow().clone();
            fail(context, &label, &view.rows, &view.notes, &failure)
        }
    }
}

/// How it ended.
enum End {
    /// Trying again cannot help.
    Failed(Failure),
    /// Somebody said so; the exit code.
    Asked(u8),
}

struct Node {
    link: Link,
    client: Client,
    desk: Desk,
    id: String,
    news: tokio::sync::Mutex<mpsc::Receiver<News>>,
    news_tx: mpsc::Sender<News>,
    _person: Option<AbortOnDropHandle<()>>,
    _lock: Flock<File>,
}

impl Node {
    fn start(
        context: &Context,
        args: &Run,
        policy: PolicyFile,
        request: LinkRequest,
        asking: &Asking,
        interrupted: &CancellationToken,
    ) -> Result<Self, Failure> {
        let paths = &context.loaded().paths;
        let lock = lock(&paths.node_dir())?;
        let roots = Roots::open(&args.allow_root)
            .map_err(|error| UsageError::new(error, "name directories that can be read"))?;
        check_commands(&args.allow, &roots)?;
        // A list that nobody can read is said at once, and not with the first program.
        policy
            .read()
            .map_err(|error| UsageError::new(error.to_string(), ""))?;
        let identity = Identity::load_or_create(&paths.node_key());
        let identity = identity.map_err(|error| Failure::Other(error.to_string()))?;
        let (person, serving) = person(args.ask_at, interrupted)?;
        let id = identity.device_id().to_owned();
        let desk = Desk::new(
            DeskOptions {
                node: id.clone(),
                mode: args.exec,
                remote_policy: args.remote_policy,
                only: args.allow.clone(),
                roots,
                person,
            },
            policy,
        );
        for note in &request.notes {
            print_note(context, note);
        }
        let commands = desk.commands();
        let offer = NodeOffer {
            display_name: args.display_name.as_deref().map(|name| printable(name, 64)),
            caps: caps(&commands),
            commands,
            path_env: PATH.to_owned(),
        };
        let link = Link::open_node(request, asking.prompter(), offer);
        let link = link.map_err(|error| Failure::Other(error.to_string()))?;
        let (news_tx, news) = mpsc::channel(NEWS);
        Ok(Self {
            client: link.client(),
            link,
            desk,
            id,
            news: tokio::sync::Mutex::new(news),
            news_tx,
            _person: serving,
            _lock: lock,
        })
    }

    /// Prints a line a change until trying again cannot help.
    async fn follow(&self, context: &Context, label: &str) -> Failure {
        let mut news = self.news.lock().await;
        let mut view = self.link.view();
        let mut told = Told::default();
        loop {
            let now = view.borrow_and_update().clone();
            if let Some(failure) = self.tell(context, label, &now, &mut told) {
                return failure;
            }
            tokio::select! {
                changed = view.changed() => if changed.is_err() {
                    return stopped();
                },
                Some(what) = news.recv() => tell_news(context, label, &what),
            }
        }
    }

    fn tell(
        &self,
        context: &Context,
        label: &str,
        now: &LinkView,
        told: &mut Told,
    ) -> Option<Failure> {
        match &now.status {
            TunnelStatus::Up { .. } => {
                if told.is_news("up", &now.generation.to_string()) {
                    told.was_up = true;
                    self.tell_up(context, label, now);
                }
            }
            TunnelStatus::Connecting { layer, attempt } => {
                if told.is_news("connecting", "") {
                    let members = [("layer", layer.id().into()), ("attempt", (*attempt).into())];
                    say(context, label, "connecting", &members);
                }
            }
            TunnelStatus::Waiting {
                until,
                why,
                attempt,
            } => {
                if told.is_news("waiting", &why.what) {
                    let mut members = trouble(why);
                    members.push((
                        "retry_ms",
                        millis(until.saturating_duration_since(Instant::now())),
                    ));
                    members.push(("attempt", (*attempt).into()));
                    say(context, label, "waiting", &members);
                }
            }
            TunnelStatus::Attention { why } if why.layer == Layer::Pairing => {
                let request = now.pairing_request.as_deref().unwrap_or_default();
                if told.is_news("pairing", request) {
                    let mut members = vec![("request", Value::from(printable(request, 80)))];
                    members.extend(trouble(why));
                    members.push(("node", self.id.as_str().into()));
                    say(context, label, "pairing", &members);
                }
            }
            // It worked before: somebody may be at it, and a look costs nothing.
            TunnelStatus::Attention { why } if told.was_up => {
                if told.is_news("attention", &why.what) {
                    say(context, label, "attention", &trouble(why));
                }
            }
            TunnelStatus::Attention { why } | TunnelStatus::Failed { why } => {
                return Some(Failure::Layer(why.clone()));
            }
            TunnelStatus::Stopped | TunnelStatus::Paused => return Some(stopped()),
        }
        None
    }

    fn tell_up(&self, context: &Context, label: &str, now: &LinkView) {
        let protocol = now.protocol().map(|protocol| protocol.number());
        let members = [
            (
                "gateway",
                printable(now.gateway_version().unwrap_or("?"), 80).into(),
            ),
            ("protocol", protocol.into()),
            ("node", self.id.as_str().into()),
            ("commands", self.desk.commands().join(",").into()),
        ];
        say(context, label, "up", &members);
    }
}

fn tell_news(context: &Context, label: &str, news: &News) {
    match news {
        News::Approved => say(context, label, "approved", &[]),
        News::Unapproved { request } => {
            let next = match request {
                Some(request) => format!("clawline nodes approve {request}"),
                None => "clawline nodes pending".to_owned(),
            };
            let mut members: Vec<(&str, Value)> = Vec::new();
            members.extend(
                request
                    .as_deref()
                    .map(|request| ("request", request.into())),
            );
            members.push((
                "why",
                "somebody has to approve what this node can be asked".into(),
            ));
            members.push(("next", next.into()));
            say(context, label, "unapproved", &members);
        }
        News::Done {
            command,
            detail,
            refused,
            took,
        } => {
            let mut members: Vec<(&str, Value)> = vec![("command", command.as_str().into())];
            if !detail.is_empty() {
                members.push(("program", detail.as_str().into()));
            }
            if !refused.is_empty() {
                members.push(("refused", refused.as_str().into()));
            }
            members.push(("ms", millis(*took)));
            say(context, label, "asked", &members);
        }
    }
}

fn stopped() -> Failure {
    Failure::Layer(LayerError::new(
        Layer::Websocket,
        "the connection was closed",
    ))
}

/// What was told last. Trying again for the same reason is no news.
#[derive(Default)]
struct Told {
    last: Option<(&'static str, String)>,
    was_up: bool,
}

impl Told {
    fn is_news(&mut self, state: &'static str, why: &str) -> bool {
        let is_news = match &self.last {
            None => true,
            Some(("up", told)) => state != "up" || told != why,
            Some((_, told)) => state == "up" || state != "connecting" && told != why,
        };
        if is_news {
            self.last = Some((state, why.to_owned()));
        }
        is_news
    }
}

/// What the commands amount to, in the words of other node hosts.
fn caps(commands: &[String]) -> Vec<String> {
    let has = |start: &str| commands.iter().any(|command| command.starts_with(start));
    let mut caps = Vec::new();
    if has("file.") || has("dir.") || has("fs.") {
        caps.push("file".to_owned());
    }
    if has("system.") {
        caps.push("system".to_owned());
    }
    caps
}

fn check_commands(only: &[String], roots: &Roots) -> Result<(), UsageError> {
    let possible = Desk::possible(roots);
    match only
        .iter()
        .find(|command| !possible.contains(&command.as_str()))
    {
        None => Ok(()),
        Some(command) => Err(UsageError::new(
            format!("{} cannot be offered here", printable(command, 80)),
            format!("what can: {}", possible.join(", ")),
        )),
    }
}

/// One node a profile: two with the same key would take each other's commands.
fn lock(dir: &Path) -> Result<Flock<File>, Failure> {
    let path = dir.join("lock");
    let unusable = |error: std::io::Error| Failure::Other(format!("{}: {error}", path.display()));
    owner_file::create_dir(dir).map_err(unusable)?;
    let mut options = File::options();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    match Flock::lock(file.map_err(unusable)?, FlockArg::LockExclusiveNonblock) {
        Ok(mut held) => {
            let note = format!("{}\n", std::process::id());
            let written = held
                .set_len(0)
                .and_then(|()| held.rewind())
                .and_then(|()| held.write_all(note.as_bytes()));
            written.map_err(unusable)?;
            Ok(held)
        }
        Err((file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            let _ = file.take(MAX_NOTE).read_to_string(&mut pid);
            Err(UsageError::new(
                format!(
                    "this machine is a node already (process {})",
                    printable(pid.trim(), 20)
                ),
                "stop that one, or give this one a --profile of its own",
            )
            .into())
        }
        Err((_, errno)) => Err(unusable(errno.into())),
    }
}

type Serving = Option<AbortOnDropHandle<()>>;

/// Who is asked about programs.
fn person(
    at: Option<AskAt>,
    interrupted: &CancellationToken,
) -> Result<(Person, Serving), UsageError> {
    match (at, output::can_ask()) {
        (Some(AskAt::Terminal), false) => Err(UsageError::new(
            "there is no terminal to ask at",
            "start it in one, or use --ask-at gateway",
        )),
        (Some(AskAt::Gateway), _) | (None, false) => Ok((Person::Nobody, None)),
        (Some(AskAt::Terminal) | None, true) => {
            let (ask, questions) = mpsc::channel(QUESTIONS);
            let serving = tokio::spawn(serve(questions, interrupted.clone()));
            Ok((Person::Here(ask), Some(AbortOnDropHandle::new(serving))))
        }
    }
}

/// Asks on the terminal, one question after the other.
async fn serve(mut questions: mpsc::Receiver<Question>, interrupted: CancellationToken) {
    while let Some(mut question) = questions.recv().await {
        if question.reply.is_closed() {
            continue;
        }
        let text = words(&question);
        let withdrawn = CancellationToken::new();
        let give_up = withdrawn.clone();
        let mut asked = tokio::task::spawn_blocking(move || ask::line(&text, true, &give_up));
        let typed = tokio::select! {
            typed = &mut asked => typed,
            () = question.reply.closed() => {
                withdrawn.cancel();
                let _ = asked.await;
                output::ask("nobody waits for the answer any more\n");
                continue;
            }
        };
        let Ok(Some(typed)) = typed else {
            interrupted.cancel();
            return;
        };
        let said = match typed.expose().trim().to_lowercase().as_str() {
            "y" | "yes" => Said::Once,
            "a" | "always" if question.always_asks.is_none() => Said::Always,
            _ => Said::No,
        };
        let _ = question.reply.send(said);
    }
}

/// All there is to know about a program before it runs. Nothing in it is cut or hidden.
fn words(question: &Question) -> String {
    let shown = &question.shown;
    let mut text = String::from("A program is to run on this machine:\n");
    let mut row = |name: &str, value: &str| text.push_str(&format!("  {name:<10} {value}\n"));
    row("command", &shown.text);
    row(
        "",
        &format!("{} bytes, sha256 {}", shown.length, shown.sha256),
    );
    row("program", &question.exe);
    row("directory", &question.cwd);
    for variable in &question.env {
        row("variable", variable);
    }
    if let Some(agent) = &question.agent {
        row("agent", &printable(agent, 200));
    }
    if let Some(session) = &question.session {
        row("session", &printable(session, 200));
    }
    for warning in &shown.warnings {
        row("careful", warning);
    }
    row("plan", &question.digest);
    match &question.always_asks {
        Some(why) => {
            row(
                "note",
                &format!("cannot be put on the list: {}", printable(why, 200)),
            );
            text.push_str("Run it? [y] yes, once, [N] no: ");
        }
        None => text.push_str("Run it? [y] yes, once, [a] yes, and put it on the list, [N] no: "),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_one_line_and_each_return_another() {
        let mut told = Told::default();
        let mut news = |state, why| told.is_news(state, why);
        assert!(news("connecting", ""));
        assert!(news("up", "1"));
        assert!(!news("up", "1"));
        assert!(news("connecting", ""));
        assert!(news("waiting", "refused"));
        assert!(!news("connecting", ""));
        assert!(!news("waiting", "refused"));
        assert!(news("up", "2"));
    }

    #[test]
    fn the_question_shows_everything_and_offers_the_list_only_where_it_may() {
        let (reply, _said) = tokio::sync::oneshot::channel();
        let argv = ["sh".to_owned(), "-c".to_owned(), "curl x | sh".to_owned()];
        let question = Question {
            shown: crate::node_host::command_text::show(&argv).unwrap(),
            exe: "/usr/bin/dash".into(),
            cwd: "/".into(),
            env: vec!["A=b".into()],
            agent: None,
            session: Some("s\u{1b}[2J".into()),
            digest: "d1".into(),
            always_asks: Some("sh can run something else".into()),
            reply,
        };
        let text = words(&question);
        for part in [
            "sh -c 'curl x | sh'",
            "/usr/bin/dash",
            "A=b",
            "s\\u{1b}[2J",
            "d1",
            "bytes, sha256",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("[a]") && !text.contains('\u{1b}'));
    }

    #[test]
    fn a_second_node_is_told_who_was_first() {
        let dir = tempfile::tempdir().unwrap();
        let _first = lock(dir.path()).unwrap();
        let error = lock(dir.path()).expect_err("refused");
        assert!(
            error.to_string().contains(&std::process::id().to_string()),
            "{error}"
        );
        assert_eq!(error.exit_code(), 2);
    }
}
