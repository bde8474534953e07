//! The frame of every connecting subcommand: open the link, wait for the greeting, run, report.

use std::sync::Arc;
use std::time::Duration;

use clawline::client::Client;
use clawline::client::dial::Credentials;
use clawline::layer::{Layer, LayerError, LayerRows, Retry};
use clawline::protocol::hello::HelloOk;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::ask::Asking;
use super::context::Context;
use super::failure::Failure;
use super::output::Output;
use super::report::Report;
use crate::link::{Link, LinkRequest, LinkView};

/// How long the gateway may take to greet, once the SSH connection is up.
const GREETING_DEADLINE: Duration = Duration::from_secs(20);

/// A gateway that has greeted us.
pub(crate) struct Connected {
    pub target: String,
    pub link: Link,
    pub client: Client,
    pub hello: Arc<HelloOk>,
}

/// What a subcommand has to say.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Lines for people.
    pub text: Vec<String>,
    /// Members for programs.
    pub json: Map<String, Value>,
    /// 0, or 1 for "unhealthy".
    pub exit: u8,
}

impl Answer {
    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.json.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a line.
    pub fn say(&mut self, line: impl Into<String>) {
        self.text.push(line.into());
    }
}

/// Connects to `bare` (or the default), runs `command`, prints its answer and returns the exit code.
/// A connection that is lost is the end of it.
pub(crate) async fn with_gateway<F>(context: &Context, bare: Option<&str>, command: F) -> u8
where
    F: AsyncFnOnce(&Connected) -> Result<Answer, Failure>,
{
    connected(context, bare, true, command).await
}

/// As [`with_gateway`] for a command that goes on: a link that was lost comes back.
pub(crate) async fn with_kept_gateway<F>(context: &Context, bare: Option<&str>, command: F) -> u8
where
    F: AsyncFnOnce(&Connected) -> Result<Answer, Failure>,
{
    connected(context, bare, false, command).await
}

async fn connected<F>(context: &Context, bare: Option<&str>, once: bool, command: F) -> u8
where
    F: AsyncFnOnce(&Connected) -> Result<Answer, Failure>,
{
    let request = match context.request(bare) {
        Ok(request) => request,
        Err(error) => return fail_early(context, bare, error.into()),
    };
    let target = request.label.clone();
    let (link, asking) = match open(request, once) {
        Ok(opened) => opened,
        Err(failure) => return fail_early(context, Some(&target), failure),
    };
    let view = link.view();
    let run = run(context, target.clone(), link, &asking, command);
    tokio::select! {
        code = run => code,
        () = asking.interrupted() => interrupted(context, &target, &view),
    }
}

/// Opens a link whose questions are asked on the terminal.
pub(crate) fn open(mut request: LinkRequest, once: bool) -> Result<(Link, Asking), Failure> {
    request.once = once;
    let asking = Asking::start();
    let link = Link::open(request, asking.prompter())
        .map_err(|error| Failure::Other(error.to_string()))?;
    Ok((link, asking))
}

/// Says how far it came before Ctrl-C; for programs, people know.
pub(crate) fn interrupted(context: &Context, target: &str, view: &watch::Receiver<LinkView>) -> u8 {
    let view = view.borrow().clone();
    fail(
        context,
        target,
        &view.rows,
        &view.notes,
        &Failure::Interrupted,
    )
}

/// How often the gateway's secret is asked for.
const SECRET_TRIES: usize = 3;

/// Waits for the greeting; a gateway that wants a secret nobody has yet gets one that is typed.
async fn greeting(
    context: &Context,
    link: &Link,
    asking: &Asking,
) -> Result<Arc<HelloOk>, LayerError> {
    let mut answer = link.first_answer(GREETING_DEADLINE).await;
    let is_given = !context.connector.options.credentials().is_empty();
    for _ in 0..SECRET_TRIES {
        let Err(error) = &answer else { break };
        if error.layer != Layer::Token || error.retry != Retry::Attention || is_given {
            break;
        }
        let wants_password = error.what.contains("password");
        let name = if wants_password { "Password" } else { "Token" };
        let question = format!("{}. {name} of the gateway: ", error.what);
        let Some(secret) = asking.gateway_secret(question).await else {
            break;
        };
        let credentials = match wants_password {
            true => Credentials {
                token: None,
                password: Some(secret),
            },
            false => Credentials::token(secret),
        };
        link.retry_with(credentials).await;
        answer = link.first_answer(GREETING_DEADLINE).await;
    }
    answer
}

async fn run<F>(context: &Context, target: String, link: Link, asking: &Asking, command: F) -> u8
where
    F: AsyncFnOnce(&Connected) -> Result<Answer, Failure>,
{
    let greeted = greeting(context, &link, asking).await;
    let notes = link.view().borrow().notes.clone();
    let mut told = Vec::new();
    let outcome = match greeted {
        Err(error) => Err((Failure::from(error), link)),
        Ok(hello) => {
            for note in &notes {
                print_note(context, note);
            }
            told.clone_from(&notes);
            let connected = Connected {
                target: target.clone(),
                client: link.client(),
                link,
                hello,
            };
            match command(&connected).await {
                Ok(answer) => Ok((answer, connected.link)),
                Err(failure) => Err((failure, connected.link)),
            }
        }
    };
    let (code, link) = match outcome {
        Ok((answer, link)) => {
            if context.out.json {
                let rows = link.view().borrow().rows.clone();
                context.out.value(
                    &Report {
                        target: &target,
                        rows: &rows,
                        notes: &notes,
                        failure: None,
                        exit: answer.exit,
                        more: answer.json,
                    }
                    .to_json(),
                );
            } else {
                for line in &answer.text {
                    context.out.line(line);
                }
            }
            (answer.exit, link)
        }
        Err((failure, link)) => {
            let view = link.view().borrow().clone();
            for note in view.notes.iter().filter(|note| !told.contains(note)) {
                print_note(context, note);
            }
            let code = fail(context, &target, &view.rows, &view.notes, &failure);
            (code, link)
        }
    };
    link.stop().await;
    code
}

/// Prints a failure and returns its exit code.
pub(crate) fn fail(
    context: &Context,
    target: &str,
    rows: &LayerRows,
    notes: &[String],
    failure: &Failure,
) -> u8 {
    fail_on(&context.out, target, rows, notes, failure)
}

/// As [`fail`], where there is no context yet.
pub(crate) fn fail_on(
    out: &Output,
    target: &str,
    rows: &LayerRows,
    notes: &[String],
    failure: &Failure,
) -> u8 {
    if out.json {
        let report = Report {
            target,
            rows,
            notes,
            failure: Some(failure),
            exit: 1,
            more: Map::new(),
        };
        out.value(&report.to_json());
    } else {
        print_failure(out, failure);
    }
    failure.exit_code()
}

/// Prints a failure for people.
fn print_failure(out: &Output, failure: &Failure) {
    for (index, line) in failure.lines().iter().enumerate() {
        // Each mistake in a config file is one of its own.
        if index == 0 || matches!(failure, Failure::Config(_)) {
            out.error(line);
        } else {
            out.note(line);
        }
    }
}

/// Prints a failure from before anything was dialled, and returns its exit code.
pub(crate) fn fail_early(context: &Context, target: Option<&str>, failure: Failure) -> u8 {
    let target = target.or(context.host.as_deref()).unwrap_or_default();
    let target = clawline::layer::printable(target, 200);
    fail(context, &target, &LayerRows::default(), &[], &failure)
}

/// Something beside the answer, for people.
pub(crate) fn print_note(context: &Context, text: &str) {
    context.out.note(&format!("note: {text}"));
}
