//! `clawline nodes`: the machines that a gateway can have commands carried out on.

mod ask;
mod invoke;
mod list;
mod pairing;

use clap::Subcommand;
use clawline::layer::printable;
use clawline::protocol::methods::NoParams;
use clawline::protocol::methods::node_pairing::NodePairRemove;
use clawline::protocol::methods::nodes::{
    NodeIdParams, NodeList, NodeRename, NodeRenameParams, NodeRow,
};
use serde_json::Value;

use super::connect::{Answer, Connected, fail_early, with_gateway};
use super::context::Context;
use super::failure::Failure;
use super::gateway::parse;
use crate::link::UsageError;

/// How long `nodes invoke` waits when nothing was said, as OpenClaw's command line does.
const DEFAULT_TIMEOUT_MS: u64 = 15_000;
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
        NodesCommand::List => list::list(gateway).await,
        NodesCommand::Describe { node } => list::describe(gateway, node).await,
        NodesCommand::Invoke(args) => invoke::invoke(context, gateway, args, params.clone()).await,
        NodesCommand::Pending => pairing::pending(gateway).await,
        NodesCommand::Approve { request } => pairing::approve(gateway, request).await,
        NodesCommand::Reject { request } => pairing::reject(gateway, request).await,
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
}
