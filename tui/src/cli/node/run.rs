//! `clawline node run`: holds the connection of a node until trying again cannot help, or somebody ends it.

use clawline::client::{Client, ClientEvent};
use clawline::identity::Identity;
use clawline::layer::printable;
use clawline::process_lock::ProcessLock;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::Run;
use super::lines::{Teller, stopped};
use super::lock::lock;
use super::person::{Serving, person};
use crate::cli::ask::Asking;
use crate::cli::connect::{fail, fail_early, print_note};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, HUNG_UP, INTERRUPTED, TERMINATED};
use crate::cli::signals::{HangUp, TunnelSignal, TunnelSignals};
use crate::cli::tunnel_only::lines::say;
use crate::link::{Link, LinkRequest, NodeOffer, UsageError};
use crate::node_host::policy::PolicyFile;
use crate::node_host::{Desk, DeskOptions, Host, News, PATH, Roots};

/// Lines that may wait to be printed.
const NEWS: usize = 64;

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
    let (node, events) = match Node::start(context, args, policy, request, &asking, &interrupted) {
        Ok(node) => node,
        Err(failure) => return fail_early(context, Some(&label), failure),
    };
    let stop = CancellationToken::new();
    let (news_tx, mut news) = mpsc::channel(NEWS);
    let host = Host::new(node.client.clone(), node.desk.clone(), news_tx);
    let mut work = tokio::spawn(host.run(events, stop.clone()));
    let view = node.link.view();
    let end = {
        let following = node.follow(context, &label, &mut news);
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
    _person: Serving,
    _lock: ProcessLock,
}

impl Node {
    fn start(
        context: &Context,
        args: &Run,
        policy: PolicyFile,
        request: LinkRequest,
        asking: &Asking,
        interrupted: &CancellationToken,
    ) -> Result<(Self, broadcast::Receiver<ClientEvent>), Failure> {
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
        let commands = desk.commands().to_vec();
        let offer = NodeOffer {
            display_name: args.display_name.as_deref().map(|name| printable(name, 64)),
            caps: caps(&commands),
            commands,
            path_env: PATH.to_owned(),
        };
        let link = Link::open_node(request, asking.prompter(), offer);
        let (link, events) = link.map_err(|error| Failure::Other(error.to_string()))?;
        let node = Self {
            client: link.client(),
            link,
            desk,
            id,
            _person: serving,
            _lock: lock,
        };
        Ok((node, events))
    }

    /// Prints a line a change until trying again cannot help.
    async fn follow(
        &self,
        context: &Context,
        label: &str,
        news: &mut mpsc::Receiver<News>,
    ) -> Failure {
        let mut view = self.link.view();
        let mut teller = Teller::new(context, label, &self.id, &self.desk);
        loop {
            let now = view.borrow_and_update().clone();
            if let Some(failure) = teller.view(&now) {
                return failure;
            }
            tokio::select! {
                changed = view.changed() => if changed.is_err() {
                    return stopped();
                },
                Some(what) = news.recv() => teller.news(&what),
            }
        }
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
