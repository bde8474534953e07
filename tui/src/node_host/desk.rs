//! Where the commands of the gateway arrive, and where it is decided whether a program may run.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::command_text::{self, Shown};
use super::plan::Prepared;
use super::policy::{Entry, Mode, PolicyFile};
use super::run_request::RunRequest;
use super::{Refused, Roots, files, notify, plan, policy_wire, programs, runner};

/// How long a program may take when nobody says.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// Programs at the same time.
const MAX_RUNS: usize = 4;
/// Plans that wait for their approval; each holds two descriptors.
const MAX_PREPARED: usize = 16;
/// Approvals that are remembered as used.
const MAX_USED: usize = 1024;
/// How much sooner than the gateway we give up, so that it hears why.
const MARGIN: Duration = Duration::from_millis(300);

/// What a person is asked.
#[derive(Debug)]
pub(crate) struct Question {
    /// The command.
    pub shown: Shown,
    /// The program's file.
    pub exe: String,
    /// Where it runs.
    pub cwd: String,
    /// Variables that were asked for, as text that hides nothing.
    pub env: Vec<String>,
    /// On whose behalf.
    pub agent: Option<String>,
    /// On whose behalf.
    pub session: Option<String>,
    /// Of the whole plan.
    pub digest: String,
    /// Why it cannot be put on the list; `None` when it can.
    pub always_asks: Option<String>,
    /// For the answer; closed when nobody waits any more.
    pub reply: oneshot::Sender<Said>,
}

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// This once.
    Once,
    /// From now on.
    Always,
    /// No.
    No,
}

/// Who is asked at this machine.
#[derive(Debug, Clone)]
pub(crate) enum Person {
    /// Nobody: approvals come through the gateway.
    Nobody,
    /// Whoever reads these.
    Here(mpsc::Sender<Question>),
}

/// How a desk was set up.
#[derive(Debug, Clone)]
pub(crate) struct DeskOptions {
    /// The node's id.
    pub node: String,
    /// Beats what the file says.
    pub mode: Option<Mode>,
    /// A gateway may add to the list.
    pub remote_policy: bool,
    /// Commands that are offered; all that work here when empty.
    pub only: Vec<String>,
    /// Where files may be read.
    pub roots: Roots,
    /// Who is asked.
    pub person: Person,
}

/// The desk. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    options: Arc<DeskOptions>,
    /// What the gateway is told is offered, for the life of the node.
    commands: Arc<[String]>,
    policy: PolicyFile,
    runs: Arc<Semaphore>,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    prepared: VecDeque<Prepared>,
    used: VecDeque<String>,
}

/// One command, and what is known about whoever waits for it.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub command: String,
    pub params: Value,
    pub deadline: Option<Duration>,
    /// The gateway lets `approved` through only with an approval of its own (version 4).
    pub is_guarded: bool,
    pub stop: CancellationToken,
}

impl Desk {
    /// A desk that keeps its list in `policy`.
    pub fn new(options: DeskOptions, policy: PolicyFile) -> Self {
        let only = &options.only;
        let possible = Self::possible(&options.roots).into_iter();
        let offered =
            possible.filter(|command| only.is_empty() || only.iter().any(|o| o == command));
        Self {
            commands: offered.map(str::to_owned).collect(),
            options: Arc::new(options),
            policy,
            runs: Arc::new(Semaphore::new(MAX_RUNS)),
            held: Arc::default(),
        }
    }

    /// Every command that can work on this machine.
    pub fn possible(roots: &Roots) -> Vec<&'static str> {
        let mut commands = vec![
            "system.which",
            "system.execApprovals.get",
            "system.execApprovals.set",
        ];
        if runner::CAN_RUN {
            commands.extend(["system.run", "system.run.prepare"]);
        }
        if notify::program().is_some() {
            commands.push("system.notify");
        }
        if !roots.is_empty() {
            commands.extend(files::COMMANDS);
        }
        commands.sort_unstable();
        commands
    }

    /// The commands that are offered.
    pub fn commands(&self) -> &[String] {
        &self.commands
    }

    /// The node's id.
    pub fn node(&self) -> &str {
        &self.options.node
    }

    /// Carries a command out.
    pub(super) async fn answer(&self, task: Task) -> Result<Value, Refused> {
        let command = task.command.as_str();
        // What is not offered is not done, whatever a gateway believes; except that `notify` says why.
        if command != "system.notify" && !self.commands.iter().any(|offered| offered == command) {
            return Err(Refused::unavailable("command not supported"));
        }
        match command {
            "system.which" => programs::which(&task.params),
            "system.notify" => notify::notify(&task.params).await,
            "system.run" => self.run(&task).await,
            "system.run.prepare" => self.prepare(&task).await,
            "system.execApprovals.get" => {
                let file = self.policy.clone();
                blocking(move || policy_wire::get(&file)).await
            }
            "system.execApprovals.set" => {
                let (file, may_add) = (self.policy.clone(), self.options.remote_policy);
                let params = task.params;
                blocking(move || policy_wire::set(&file, &params, may_add)).await
            }
            _ => {
                let roots = self.options.roots.clone();
                blocking(move || roots.answer(&task.command, &task.params)).await
            }
        }
    }

    /// Freezes what would run, for an approval that comes through the gateway.
    async fn prepare(&self, task: &Task) -> Result<Value, Refused> {
        let mode = self.mode().await?;
        if mode == Mode::Deny {
            return Err(disabled());
        }
        let request = RunRequest::read_for_plan(&task.params)?;
        let prepared = self.make(request).await?;
        let shown = show(&prepared)?;
        let (security, ask) = policy_wire::words(mode);
        let plan = &prepared.plan;
        let reply = json!({
            "plan": {
                "argv": plan.argv,
                "cwd": plan.cwd.to_string_lossy(),
                "commandText": command_text::format(&plan.argv),
                "commandPreview": null,
                "agentId": plan.agent,
                "sessionKey": plan.session,
            },
            "execPolicy": {"security": security, "ask": ask},
            "exe": plan.exe.to_string_lossy(),
            "digest": plan.digest(),
            "commandSha256": shown.sha256,
            "warnings": shown.warnings,
            "expiresAtMs": plan.expires_at_ms,
        });
        let mut held = self.held();
        if held.prepared.len() == MAX_PREPARED {
            held.prepared.pop_front();
        }
        held.prepared.push_back(prepared);
        Ok(reply)
    }

    async fn run(&self, task: &Task) -> Result<Value, Refused> {
        let until = task
            .deadline
            .map(|deadline| Instant::now() + deadline.saturating_sub(MARGIN));
        let mode = self.mode().await?;
        if mode == Mode::Deny {
            return Err(disabled());
        }
        let request = RunRequest::read(&task.params)?;
        // First of all room: an approval is not used up by a call that is refused.
        let _running = self.runs.try_acquire().map_err(|_| {
            Refused::unavailable(format!("{MAX_RUNS} programs are running here already"))
        })?;
        let approved = self.take_approved(&request, task.is_guarded)?;
        let timeout = request.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let (prepared, entry) = match approved {
            Some(prepared) => (prepared, None),
            None => {
                let prepared = self.make(request).await?;
                let entry = self.listed(mode, &prepared).await?;
                if entry.is_none() {
                    self.ask(&prepared, until, &task.stop).await?;
                }
                (prepared, entry)
            }
        };
        let left = until.map_or(timeout, |until| {
            until.saturating_duration_since(Instant::now())
        });
        let outcome = runner::run(prepared, timeout.min(left), &task.stop).await?;
        if let Some(id) = entry {
            let file = self.policy.clone();
            let touched = blocking(move || {
                let touched = file.touch(&id, now_ms());
                touched.map_err(|error| Refused::unavailable(error.to_string()))
            });
            if let Err(error) = touched.await {
                tracing::warn!(%error, "the use of the list is not noted");
            }
        }
        tracing::info!(code = ?outcome.code(), good = outcome.is_good(), "a program ended");
        Ok(outcome.to_json())
    }

    /// The plan that somebody approved through the gateway: it was made here before, fits word for word,
    /// and is used once.
    fn take_approved(
        &self,
        request: &RunRequest,
        is_guarded: bool,
    ) -> Result<Option<Prepared>, Refused> {
        let Some(id) = request.approval.as_ref().filter(|_| is_guarded) else {
            return Ok(None);
        };
        let mut held = self.held();
        if held.used.contains(id) {
            return Err(Refused::denied(
                "APPROVAL_NOT_FOUND: the approval was used before",
            ));
        }
        let at = held
            .prepared
            .iter()
            .rposition(|prepared| prepared.plan.is_for(request));
        let Some(prepared) = at.and_then(|at| held.prepared.remove(at)) else {
            return Err(Refused::denied(
                "APPROVAL_NOT_FOUND: what was approved is not what this node prepared; prepare it again",
            ));
        };
        if held.used.len() == MAX_USED {
            held.used.pop_front();
        }
        held.used.push_back(id.clone());
        Ok(Some(prepared))
    }

    /// The entry of the list that allows it.
    async fn listed(&self, mode: Mode, prepared: &Prepared) -> Result<Option<String>, Refused> {
        if mode != Mode::Allowlist || prepared.always_asks.is_some() {
            return Ok(None);
        }
        let file = self.policy.clone();
        let snapshot = blocking(move || {
            file.read()
                .map_err(|error| Refused::unavailable(error.to_string()))
        });
        let plan = &prepared.plan;
        let allows = |entry: &&Entry| {
            entry.argv == plan.argv
                && entry.exe == plan.exe
                && entry.sha256 == plan.exe_sha256()
                && entry.counts_in(&plan.cwd)
        };
        let snapshot = snapshot.await?;
        Ok(snapshot
            .policy
            .allow
            .iter()
            .find(allows)
            .map(|entry| entry.id.clone()))
    }

    /// Asks the person at this machine; anything but yes is an error.
    async fn ask(
        &self,
        prepared: &Prepared,
        until: Option<Instant>,
        stop: &CancellationToken,
    ) -> Result<(), Refused> {
        let Person::Here(person) = &self.options.person else {
            return Err(Refused::denied("approval required"));
        };
        let plan = &prepared.plan;
        let (reply, said) = oneshot::channel();
        let variable = |name: &String| {
            let value = plan.env.get(name).cloned().unwrap_or_default();
            command_text::format(&[format!("{name}={value}")])
        };
        let question = Question {
            shown: show(prepared)?,
            exe: path_text(&plan.exe),
            cwd: path_text(&plan.cwd),
            env: plan.asked_env.iter().map(variable).collect(),
            agent: plan.agent.clone(),
            session: plan.session.clone(),
            digest: plan.digest(),
            always_asks: prepared.always_asks.clone(),
            reply,
        };
        if person.try_send(question).is_err() {
            return Err(Refused::denied("nobody can be asked now"));
        }
        let limit = until.map_or(plan::MAX_AGE, |until| {
            until.saturating_duration_since(Instant::now())
        });
        let said = tokio::select! {
            said = tokio::time::timeout(limit, said) => said,
            () = stop.cancelled() => return Err(Refused::unavailable("cancelled")),
        };
        match said {
            Ok(Ok(Said::Once)) => Ok(()),
            Ok(Ok(Said::Always)) => self.add(prepared).await,
            Ok(Ok(Said::No)) => Err(Refused::denied("the person at the node said no")),
            Ok(Err(_)) => Err(Refused::denied("nobody can be asked now")),
            Err(_) => Err(Refused::denied(
                "approval required; nobody answered in time",
            )),
        }
    }

    /// Puts a command on the list; one that always asks is only run this once.
    async fn add(&self, prepared: &Prepared) -> Result<(), Refused> {
        if prepared.always_asks.is_some() {
            return Ok(());
        }
        let entry = entry_of(prepared);
        let file = self.policy.clone();
        blocking(move || add(&file, entry)).await
    }

    async fn make(&self, request: RunRequest) -> Result<Prepared, Refused> {
        let node = self.options.node.clone();
        blocking(move || Prepared::make(&request, &node, SystemTime::now())).await
    }

    /// What happens when a program is to run. A list that cannot be read stops everything.
    async fn mode(&self) -> Result<Mode, Refused> {
        let file = self.policy.clone();
        let snapshot = blocking(move || {
            file.read()
                .map_err(|error| Refused::unavailable(error.to_string()))
        });
        let snapshot = snapshot.await?;
        Ok(self.options.mode.unwrap_or(snapshot.policy.mode))
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn disabled() -> Refused {
    Refused::unavailable("SYSTEM_RUN_DISABLED: security=deny")
}

fn show(prepared: &Prepared) -> Result<Shown, Refused> {
    command_text::show(&prepared.plan.argv)
        .ok_or_else(|| Refused::invalid("command is longer than 8 KiB"))
}

fn path_text(path: &Path) -> String {
    command_text::format(&[path.to_string_lossy().into_owned()])
}

/// The entry that allows exactly `argv`, as the programs are now, in this directory; in that of calls
/// which name none, where none is given. Reads files: not for an async task.
pub(crate) fn entry_for(argv: &[String], cwd: Option<&Path>) -> Result<Entry, Refused> {
    let params = json!({"command": argv, "cwd": cwd});
    let prepared = Prepared::make(&RunRequest::read(&params)?, "", SystemTime::now())?;
    match &prepared.always_asks {
        Some(why) => Err(Refused::invalid(format!("it is always asked about: {why}"))),
        None => Ok(entry_of(&prepared)),
    }
}

fn entry_of(prepared: &Prepared) -> Entry {
    let plan = &prepared.plan;
    Entry {
        id: uuid::Uuid::new_v4().to_string(),
        argv: plan.argv.clone(),
        exe: plan.exe.clone(),
        sha256: plan.exe_sha256().to_owned(),
        cwd: Some(plan.cwd.clone()),
        any_dir: false,
        added_at_ms: now_ms(),
        used_at_ms: None,
    }
}

/// Puts an entry on the list; an older one for the same words and place makes room.
pub(crate) fn add(file: &PolicyFile, entry: Entry) -> Result<(), Refused> {
    let changed = file.change(None, |policy| {
        policy.allow.retain(|old| !old.is_replaced_by(&entry));
        policy.allow.push(entry);
        Ok(())
    });
    changed
        .map(drop)
        .map_err(|error| Refused::unavailable(error.to_string()))
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Runs what reads files on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Refused::unavailable(error.to_string())))
}

#[cfg(test)]
mod tests;
