//! `clawline tunnel`: sees and steers the tunnels that `--tunnel-only` holds on this machine.

mod ask;
mod show;

use std::time::Duration;

use clawline::layer::printable;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::args::TargetArg;
use super::connect::fail_early;
use super::context::Context;
use super::failure::Failure;
use super::tunnel_only::claim::{Held, held, places};
use super::tunnel_only::state::State;
use super::tunnel_only::status_socket::Question;
use crate::link::UsageError;

use ask::{AskError, ask, watch};

/// How long a tunnel may take to end, once it was asked to.
const END_DEADLINE: Duration = Duration::from_secs(8);
/// Time between two looks whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Changes that wait to be printed; whoever tells them waits as long.
const CHANGES: usize = 16;

/// Arguments of `tunnel`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 all of them are up (stop, reconnect: done), 1 one is not up or does not answer,
2 wrong usage, or none is held.")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// How they stand
    Status {
        #[command(flatten)]
        target: TargetArg,
        /// Tell every change, until interrupted
        #[arg(long)]
        watch: bool,
    },
    /// End one
    Stop {
        #[command(flatten)]
        target: TargetArg,
    },
    /// Connect anew now
    Reconnect {
        #[command(flatten)]
        target: TargetArg,
    },
}

impl Args {
    /// The bare TARGET.
    pub fn target(&self) -> Option<&String> {
        match &self.what {
            What::Status { target, .. } | What::Stop { target } | What::Reconnect { target } => {
                target.target.as_ref()
            }
        }
    }
}

pub(crate) async fn run(context: &Context, args: &Args) -> u8 {
    let chosen = chosen(context, args);
    let (target, outcome) = match chosen {
        Err(error) => (None, Err(error)),
        Ok((target, tunnels)) => {
            let outcome = match &args.what {
                What::Status { watch: false, .. } => Ok(status(context, &tunnels).await),
                What::Status { watch: true, .. } => Ok(follow(context, tunnels).await),
                What::Stop { .. } => match only(tunnels, "stop") {
                    Ok(tunnel) => Ok(stop(context, &tunnel).await),
                    Err(error) => Err(error),
                },
                What::Reconnect { .. } => match only(tunnels, "reconnect") {
                    Ok(tunnel) => Ok(reconnect(context, &tunnel).await),
                    Err(error) => Err(error),
                },
            };
            (target, outcome)
        }
    };
    outcome.unwrap_or_else(|error| fail_early(context, target.as_deref(), error.into()))
}

/// The tunnels that are meant, at least one.
fn chosen(context: &Context, args: &Args) -> Result<(Option<String>, Vec<Held>), UsageError> {
    let target = match (args.target(), &context.host) {
        (Some(_), Some(_)) => {
            return Err(UsageError::new(
                "TARGET and --host both say which tunnel",
                "leave one of them out",
            ));
        }
        (bare, host) => bare.or(host.as_ref()).cloned(),
    };
    let all = held(&places(&context.loaded().paths));
    let Some(target) = target else {
        if all.is_empty() {
            return Err(UsageError::new(
                "no tunnel is held on this machine",
                "clawline --tunnel-only me@desktop holds one, clawline install-tunnel from every login on",
            ));
        }
        return Ok((None, all));
    };
    let others = names(&all);
    let meant = |held: &Held| {
        let name = held.holder.target.split(" (").next();
        held.holder.target == target || held.holder.typed == target || name == Some(&target)
    };
    let tunnels: Vec<Held> = all.into_iter().filter(meant).collect();
    if tunnels.is_empty() {
        let next = match others.is_empty() {
            true => format!(
                "clawline --tunnel-only {} holds one",
                printable(&target, 120)
            ),
            false => format!("held are: {others}"),
        };
        let what = format!("no tunnel to {} is held here", printable(&target, 120));
        return Err(UsageError::new(what, next));
    }
    Ok((Some(target), tunnels))
}

fn names(tunnels: &[Held]) -> String {
    let names = tunnels.iter().map(|held| {
        let typed = printable(&held.holder.typed, 120);
        format!("{typed} (pid {})", held.holder.pid)
    });
    names.collect::<Vec<_>>().join(", ")
}

/// One of them cannot be meant by nobody saying which.
fn only(mut tunnels: Vec<Held>, verb: &str) -> Result<Held, UsageError> {
    match (tunnels.pop(), tunnels.is_empty()) {
        (Some(tunnel), true) => Ok(tunnel),
        (last, _) => {
            tunnels.extend(last);
            Err(UsageError::new(
                format!("several tunnels are held: {}", names(&tunnels)),
                format!("clawline tunnel {verb} TARGET, or `kill PID` for one of the same target"),
            ))
        }
    }
}

async fn status(context: &Context, tunnels: &[Held]) -> u8 {
    let mut asking = JoinSet::new();
    for (index, tunnel) in tunnels.iter().enumerate() {
        let socket = tunnel.socket.clone();
        asking.spawn(async move { (index, ask(&socket, Question::Status).await) });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(index, _)| *index);
    let answers: Vec<_> = tunnels
        .iter()
        .zip(answers.into_iter().map(|(_, answer)| answer))
        .collect();
    let is_good = |answer: &Result<State, AskError>| answer.as_ref().is_ok_and(State::is_good);
    let exit = u8::from(!answers.iter().all(|(_, answer)| is_good(answer)));
    if context.out.json {
        let tunnels: Vec<Value> = answers
            .iter()
            .map(|(held, answer)| show::json(held, answer))
            .collect();
        let json = json!({ "v": 1, "ok": exit == 0, "exit": exit, "tunnels": tunnels });
        context.out.value(&json);
    } else {
        for (held, answer) in answers {
            for line in show::lines(held, &answer) {
                context.out.line(&line);
            }
        }
    }
    exit
}

/// A line for each change, until all of them have ended or nobody reads.
async fn follow(context: &Context, tunnels: Vec<Held>) -> u8 {
    let (changes, mut changed) = mpsc::channel(CHANGES);
    let mut watching = JoinSet::new();
    for held in tunnels {
        watching.spawn(watch(held, changes.clone()));
    }
    drop(changes);
    let mut told = std::collections::BTreeMap::new();
    while let Some((held, answer)) = changed.recv().await {
        if context.out.is_closed() {
            return 0;
        }
        if context.out.json {
            context.out.value(&show::json(&held, &answer));
            continue;
        }
        // In text only what a person wants to see change.
        let news = show::headline(&held, &answer);
        if told.insert(held.lock.clone(), news.clone()).as_ref() != Some(&news) {
            let time = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
            context.out.line(&format!("{time}  {news}"));
        }
    }
    1
}

async fn reconnect(context: &Context, tunnel: &Held) -> u8 {
    match ask(&tunnel.socket, Question::Reconnect).await {
        Ok(_) => {
            done(context, tunnel, "connects anew now");
            0
        }
        Err(why) => not_done(context, tunnel, &why),
    }
}

async fn stop(context: &Context, tunnel: &Held) -> u8 {
    if let Err(why) = ask(&tunnel.socket, Question::Stop).await {
        return not_done(context, tunnel, &why);
    }
    let ending = async {
        while tunnel.is_held() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    match tokio::time::timeout(END_DEADLINE, ending).await {
        Ok(()) => {
            done(context, tunnel, "ended");
            0
        }
        Err(_) => not_done(context, tunnel, &AskError::StillThere),
    }
}

fn done(context: &Context, tunnel: &Held, what: &str) {
    let (target, pid) = (&tunnel.holder.target, tunnel.holder.pid);
    if context.out.json {
        let json = json!({ "v": 1, "ok": true, "exit": 0, "target": target, "pid": pid });
        context.out.value(&json);
    } else {
        context
            .out
            .line(&format!("{}  {what}  (pid {pid})", printable(target, 200)));
    }
}

fn not_done(context: &Context, tunnel: &Held, why: &AskError) -> u8 {
    let failure = Failure::Tunnel {
        what: format!(
            "the tunnel to {} (pid {}) {why}",
            printable(&tunnel.holder.target, 200),
            tunnel.holder.pid
        ),
        next: why.next(tunnel.holder.pid),
    };
    fail_early(context, Some(&tunnel.holder.target), failure)
}
