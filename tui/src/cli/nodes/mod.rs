//! `clawline nodes`: the machines that a gateway can have commands carried out on.

use std::time::Duration;

use clap::Subcommand;
use clawline::layer::printable;
use clawline::protocol::method::Method as _;
use clawline::protocol::methods::NoParams;
use clawline::protocol::methods::devices::RequestIdParams;
use clawline::protocol::methods::node_pairing::{
    NodePairApprove, NodePairList, NodePairReject, NodePairRemove, NodePairRow,
};
use clawline::protocol::methods::nodes::{
    ApprovalState, NodeDescribe, NodeIdParams, NodeInvoke, NodeInvokeParams, NodeList, NodeRename,
    NodeRenameParams, NodeRow,
};
use serde_json::Value;

use super::connect::{Answer, Connected, fail_early, with_gateway};
use super::context::Context;
use super::failure::Failure;
use super::gateway::parse;
use super::nodes_run::ask_and_run;
use super::sessions::several_lines;
use super::status::duration;
use crate::link::UsageError;

/// How long `nodes invoke` waits when nothing was said, as OpenClaw's command line does.
const DEFAULT_TIMEOUT_MS: u64 = 15_000;
/// Beyond the node's own time: the way there and back.
pub(super) const ON_THE_WAY: Duration = Duration::from_secs(10);
/// Digits of a node's id in a table.
const SHORT_ID: usize = 12;
/// Fewest digits that name a node.
const MIN_PREFIX: usize = 4;

/// Arguments of `nodes`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<NodesCommand>,
}

#[derive(Debug, Subcommand)]
enum NodesCommand {
    /// Nodes, and whether they are there (this is what `nodes` alone does)
    List,
    /// Everything about one node
    Describe {
        /// Its name, its id, or the first digits of its id
        node: String,
    },
    /// Have a node carry out a command
    Invoke(Invoke),
    /// Nodes whose commands wait for approval
    Pending,
    /// Let the commands that a node offers be used
    Approve {
        /// Of the request, as `pending` shows it
        request: String,
    },
    /// Turn a request down
    Reject {
        /// Of the request, as `pending` shows it
        request: String,
    },
    /// Forget a node and close its connection
    Remove {
        /// Its name, its id, or the first digits of its id
        node: String,
    },
    /// Give a node another name
    Rename {
        /// Its name, its id, or the first digits of its id
        node: String,
        /// The new name
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct Invoke {
    /// Its name, its id, or the first digits of its id
    node: String,
    /// The command, e.g. system.which
    command: String,
    /// Its parameters
    #[arg(long, value_name = "JSON", default_value = "{}")]
    params: String,
    /// How long the node may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = DEFAULT_TIMEOUT_MS, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// For system.run: ask whoever approves commands at the gateway, wait for the answer, then run it
    #[arg(long)]
    ask: bool,
}

pub(crate) async fn run(context: &Context, args: &Args) -> u8 {
    let command = args.command.as_ref().unwrap_or(&NodesCommand::List);
    // What is wrong with the parameters is said before anything is dialled.
    let params = match command {
        NodesCommand::Invoke(invoke) => match invoke.check() {
            Ok(params) => params,
            Err(error) => return fail_early(context, None, error.into()),
        },
        _ => Value::Null,
    };
    with_gateway(context, None, async |gateway| match command {
        NodesCommand::List => list(gateway).await,
        NodesCommand::Describe { node } => describe(gateway, node).await,
        NodesCommand::Invoke(args) => invoke(context, gateway, args, params.clone()).await,
        NodesCommand::Pending => pending(gateway).await,
        NodesCommand::Approve { request } => approve(gateway, request).await,
        NodesCommand::Reject { request } => reject(gateway, request).await,
        NodesCommand::Remove { node } => remove(gateway, node).await,
        NodesCommand::Rename { node, name } => rename(gateway, node, name).await,
    })
    .await
}

impl Invoke {
    fn check(&self) -> Result<Value, UsageError> {
        if self.ask && self.command != "system.run" {
            return Err(UsageError::new(
                "--ask is for system.run",
                "leave it out: other commands are not asked about",
            ));
        }
        parse(&self.params)
    }
}

async fn list(gateway: &Connected) -> Result<Answer, Failure> {
    let reply = gateway.client.call::<NodeList>(NoParams {}).await?;
    let now = jiff::Timestamp::now().as_millisecond();
    let mut answer = Answer::default();
    if reply.nodes.is_empty() {
        answer.say("no nodes; clawline node run makes this machine one");
    } else {
        answer.say(row_text("NODE", "NAME", "STATE", "PLATFORM", "SEEN"));
    }
    for row in &reply.nodes {
        answer.say(list_line(row, now));
    }
    let waiting = reply.nodes.iter().any(|row| {
        matches!(
            row.approval_state,
            Some(ApprovalState::PendingApproval | ApprovalState::PendingReapproval)
        )
    });
    if waiting {
        answer.say("some wait for approval: clawline nodes pending");
    }
    Ok(answer.with(
        "nodes",
        serde_json::to_value(&reply.nodes).unwrap_or_default(),
    ))
}

fn list_line(row: &NodeRow, now: i64) -> String {
    let seen = match (row.connected, row.last_seen_at_ms.or(row.connected_at_ms)) {
        (true, _) => "now".to_owned(),
        (false, Some(at)) => {
            let seconds = u64::try_from((now - at).max(0) / 1000).unwrap_or_default();
            format!("{} ago", duration(seconds))
        }
        (false, None) => "never".to_owned(),
    };
    row_text(
        &printable(&row.node_id, SHORT_ID),
        row.display_name.as_deref().unwrap_or("unnamed"),
        state(row),
        row.platform.as_deref().unwrap_or("?"),
        &seen,
    )
}

/// One line of the table, at most 80 columns.
fn row_text(id: &str, name: &str, state: &str, platform: &str, seen: &str) -> String {
    let line = format!(
        "{:<SHORT_ID$}  {}  {}  {}  {}",
        id,
        column(name, 24),
        column(state, 16),
        column(platform, 8),
        column(seen, 12),
    );
    line.trim_end().to_owned()
}

/// Cleaned text, cut or filled up to `width` columns of the screen.
fn column(text: &str, width: usize) -> String {
    use unicode_width::UnicodeWidthChar as _;
    let (mut out, mut used) = (String::new(), 0);
    for c in printable(text, 200).chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide > width {
            break;
        }
        out.push(c);
        used += wide;
    }
    out.push_str(&" ".repeat(width - used));
    out
}

fn state(row: &NodeRow) -> &'static str {
    match (row.connected, row.approval_state) {
        (_, Some(ApprovalState::PendingApproval)) => "waits",
        (true, Some(ApprovalState::PendingReapproval)) => "asks for more",
        (true, _) => "connected",
        (false, _) => "away",
    }
}

async fn describe(gateway: &Connected, node: &str) -> Result<Answer, Failure> {
    let node_id = find(gateway, node).await?.node_id;
    let reply = gateway
        .client
        .call::<NodeDescribe>(NodeIdParams { node_id })
        .await?;
    let row = &reply.node;
    let mut answer = Answer::default();
    let mut say = |name: &str, text: &str| {
        if !text.is_empty() {
            answer.say(format!("{name:<9} {}", printable(text, 400)));
        }
    };
    say("node", &row.node_id);
    say("name", row.display_name.as_deref().unwrap_or("unnamed"));
    say("state", state(row));
    let platform = [
        row.platform.as_deref(),
        row.device_family.as_deref(),
        row.version.as_deref(),
    ];
    say("system", &platform.map(Option::unwrap_or_default).join(" "));
    say("address", row.remote_ip.as_deref().unwrap_or_default());
    say("has", &row.caps.join(", "));
    say("can", &row.commands.join(", "));
    if let Some(wanted) = &row.pending_declared_commands {
        say("asks for", &wanted.join(", "));
    }
    if let Some(request) = &row.pending_request_id {
        say("approve", &format!("clawline nodes approve {request}"));
    }
    if let Some(stats) = &row.host_stats {
        say("load", &load(stats));
    }
    Ok(answer.with("node", serde_json::to_value(&reply).unwrap_or_default()))
}

fn load(stats: &Value) -> String {
    const GIB: f64 = 1_073_741_824.0;
    let gib = |name: &str| stats[name].as_f64().unwrap_or_default() / GIB;
    format!(
        "{:.2} of {} processors, {:.1} of {:.1} GiB memory free, {:.1} of {:.1} GiB disk free",
        stats["loadAverage"][0].as_f64().unwrap_or_default(),
        stats["cpuCount"].as_u64().unwrap_or_default(),
        gib("memoryFreeBytes"),
        gib("memoryTotalBytes"),
        gib("diskAvailableBytes"),
        gib("diskTotalBytes"),
    )
}

async fn invoke(
    context: &Context,
    gateway: &Connected,
    args: &Invoke,
    params: Value,
) -> Result<Answer, Failure> {
    let node = find(gateway, &args.node).await?;
    let timeout = Duration::from_millis(args.timeout);
    let payload = if args.ask {
        ask_and_run(context, gateway, &node.node_id, params, timeout).await?
    } else {
        call(gateway, &node.node_id, &args.command, params, timeout).await?
    };
    Ok(result_of(&args.command, &node.node_id, payload))
}

/// Has `node_id` carry out `command`.
pub(super) async fn call(
    gateway: &Connected,
    node_id: &str,
    command: &str,
    params: Value,
    timeout: Duration,
) -> Result<Value, Failure> {
    let params = NodeInvokeParams {
        node_id: node_id.to_owned(),
        command: command.to_owned(),
        params: Some(params),
        timeout_ms: u64::try_from(timeout.as_millis()).ok(),
        idempotency_key: uuid::Uuid::new_v4().to_string(),
        session_key: None,
    };
    let reply = gateway
        .client
        .call_within::<NodeInvoke>(params, timeout + ON_THE_WAY)
        .await?;
    let written = reply.payload_json.as_deref();
    let value = written.and_then(|text| serde_json::from_str(text).ok());
    Ok(value.unwrap_or(reply.payload))
}

/// The output of a program as it was, everything else as JSON.
fn result_of(command: &str, node_id: &str, payload: Value) -> Answer {
    let mut answer = Answer::default();
    let ran = command == "system.run" && payload.get("exitCode").is_some();
    if ran {
        for stream in ["stdout", "stderr"] {
            let text = payload[stream].as_str().unwrap_or_default();
            if !text.is_empty() {
                answer.say(several_lines(text.trim_end_matches('\n')));
            }
        }
        answer.exit = u8::from(payload["success"] != true);
        if answer.exit != 0 {
            answer.say(how_it_ended(&payload));
        }
    } else {
        let text = serde_json::to_string_pretty(&payload).unwrap_or_default();
        answer.say(several_lines(&text));
    }
    answer
        .with("nodeId", node_id)
        .with("command", command)
        .with("payload", payload)
}

fn how_it_ended(payload: &Value) -> String {
    if payload["timedOut"] == true {
        return "it did not end in time and was stopped".to_owned();
    }
    match (payload["error"].as_str(), payload["exitCode"].as_i64()) {
        (Some(error), _) => printable(error, 200),
        (None, Some(code)) => format!("it ended with exit code {code}"),
        (None, None) => "it was stopped".to_owned(),
    }
}

async fn pending(gateway: &Connected) -> Result<Answer, Failure> {
    let reply = gateway.client.call::<NodePairList>(NoParams {}).await?;
    let mut answer = Answer::default();
    for row in &reply.pending {
        let request = printable(row.request_id.as_deref().unwrap_or("?"), 80);
        answer.say(format!(
            "{}  {}",
            printable(&row.node_id, SHORT_ID),
            name(row)
        ));
        let commands = row.commands.as_deref().unwrap_or_default().join(", ");
        answer.say(format!("  asks for  {}", printable(&commands, 600)));
        answer.say(format!("  approve   clawline nodes approve {request}"));
    }
    if answer.text.is_empty() {
        answer.say("no node waits for approval");
    }
    Ok(answer.with(
        "pending",
        serde_json::to_value(&reply.pending).unwrap_or_default(),
    ))
}

fn name(row: &NodePairRow) -> String {
    let platform = row.platform.as_deref().unwrap_or("");
    let name = row.display_name.as_deref().unwrap_or("unnamed");
    printable(format!("{name}  {platform}").trim_end(), 100)
}

async fn approve(gateway: &Connected, request: &str) -> Result<Answer, Failure> {
    let params = RequestIdParams {
        request_id: request.to_owned(),
    };
    let reply = gateway.client.call::<NodePairApprove>(params).await?;
    let mut answer = Answer::default();
    let commands = reply.node.commands.as_deref().unwrap_or_default();
    answer.say(format!(
        "{} may be used: {}",
        name(&reply.node),
        printable(&commands.join(", "), 600)
    ));
    Ok(answer.with("result", serde_json::to_value(&reply).unwrap_or_default()))
}

async fn reject(gateway: &Connected, request: &str) -> Result<Answer, Failure> {
    let params = RequestIdParams {
        request_id: request.to_owned(),
    };
    let reply = gateway.client.call::<NodePairReject>(params).await?;
    let mut answer = Answer::default();
    answer.say(format!(
        "the request {} was turned down",
        printable(request, 80)
    ));
    Ok(answer.with("result", serde_json::to_value(&reply).unwrap_or_default()))
}

async fn remove(gateway: &Connected, node: &str) -> Result<Answer, Failure> {
    let row = find(gateway, node).await?;
    let params = NodeIdParams {
        node_id: row.node_id,
    };
    let reply = gateway.client.call::<NodePairRemove>(params).await?;
    let mut answer = Answer::default();
    answer.say(format!(
        "the node {} is forgotten",
        printable(&reply.node_id, SHORT_ID)
    ));
    Ok(answer.with("result", serde_json::to_value(&reply).unwrap_or_default()))
}

async fn rename(gateway: &Connected, node: &str, name: &str) -> Result<Answer, Failure> {
    let row = find(gateway, node).await?;
    let params = NodeRenameParams {
        node_id: row.node_id,
        display_name: name.to_owned(),
    };
    let reply = gateway.client.call::<NodeRename>(params).await?;
    let mut answer = Answer::default();
    answer.say(format!(
        "{} is now {}",
        printable(&reply.node_id, SHORT_ID),
        printable(&reply.display_name, 100)
    ));
    Ok(answer.with("result", serde_json::to_value(&reply).unwrap_or_default()))
}

/// The node that was meant.
async fn find(gateway: &Connected, named: &str) -> Result<NodeRow, Failure> {
    let reply = gateway.client.call::<NodeList>(NoParams {}).await?;
    let method = NodeList::NAME;
    tracing::debug!(method, nodes = reply.nodes.len(), "looking for a node");
    Ok(choose(reply.nodes, named)?)
}

/// By id, by name, or by the first digits of its id; never by a guess.
fn choose(nodes: Vec<NodeRow>, named: &str) -> Result<NodeRow, UsageError> {
    let is_prefix = named.len() >= MIN_PREFIX && named.bytes().all(|b| b.is_ascii_hexdigit());
    let tests: [&dyn Fn(&NodeRow) -> bool; 3] = [
        &|row| row.node_id == named,
        &|row| row.display_name.as_deref() == Some(named),
        &|row| is_prefix && row.node_id.starts_with(&named.to_ascii_lowercase()),
    ];
    let shown = printable(named, 80);
    for test in tests {
        let mut found = nodes.iter().filter(|row| test(row));
        match (found.next(), found.next()) {
            (Some(row), None) => return Ok(row.clone()),
            (Some(_), Some(_)) => {
                return Err(UsageError::new(
                    format!("several nodes are called {shown}"),
                    "name it by its id: clawline nodes list",
                ));
            }
            (None, _) => {}
        }
    }
    Err(UsageError::new(
        format!("there is no node {shown}"),
        "clawline nodes list shows which there are",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, name: &str) -> NodeRow {
        NodeRow {
            node_id: id.into(),
            display_name: Some(name.into()),
            ..NodeRow::default()
        }
    }

    #[test]
    fn a_node_is_named_by_id_name_or_first_digits_and_never_guessed() {
        let nodes = || {
            vec![
                node("abcd11", "pi"),
                node("abcd22", "pi2"),
                node("abcd33", "pi2"),
            ]
        };
        let id = |named| choose(nodes(), named).map(|row| row.node_id);
        assert_eq!(id("abcd22").unwrap(), "abcd22");
        assert_eq!(id("pi").unwrap(), "abcd11");
        assert_eq!(id("ABCD3").unwrap(), "abcd33");
        for (named, why) in [("abcd", "several"), ("pi2", "several"), ("abc", "no node")] {
            let error = id(named).unwrap_err();
            assert!(error.what.contains(why), "{named}: {error}");
        }
    }

    #[test]
    fn a_line_fits_80_columns_and_shows_no_control_characters() {
        use unicode_width::UnicodeWidthStr as _;
        let hostile = format!("a\u{1b}[2J\u{202e}{}", "漢".repeat(100));
        let row = NodeRow {
            platform: Some(hostile.clone()),
            ..node(&"f".repeat(64), &hostile)
        };
        let line = list_line(&row, 0);
        assert!(line.width() <= 80, "{line}");
        assert!(!line.chars().any(char::is_control) && !line.contains('\u{202e}'));
    }

    #[test]
    fn a_program_that_failed_is_exit_code_1_and_says_how() {
        let payload = serde_json::json!({"exitCode": 3, "success": false, "timedOut": false,
            "stdout": "out\n", "stderr": "", "error": null});
        let answer = result_of("system.run", "id", payload);
        assert_eq!(answer.exit, 1);
        assert_eq!(answer.text, ["out", "it ended with exit code 3"]);
    }
}
