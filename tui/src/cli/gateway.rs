//! `clawline gateway`: calls to the gateway, under the names that OpenClaw's own command line uses.

use std::time::Duration;

use clap::Subcommand;
use clawline::layer::printable;
use serde_json::{Value, json};

use super::connect::{Answer, Connected, with_gateway};
use super::context::Context;
use super::failure::Failure;
use super::report::row_lines;
use super::{agent, health, status};
use crate::link::UsageError;

/// How long `gateway call` waits when nothing was said.
const DEFAULT_TIMEOUT_MS: u64 = 30_000;

/// Arguments of `gateway`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: GatewayCommand,
}

#[derive(Debug, Subcommand)]
enum GatewayCommand {
    /// Who and what is there
    Status {
        /// Show every layer on the way
        #[arg(long)]
        deep: bool,
    },
    /// Is it well?
    Health,
    /// Every layer on the way, and what the gateway can do
    Probe,
    /// Call any method
    Call {
        /// The method, e.g. sessions.list
        method: String,
        /// Its parameters
        #[arg(long, value_name = "JSON", default_value = "{}")]
        params: String,
        /// How long to wait, in milliseconds
        #[arg(long, value_name = "MS", default_value_t = DEFAULT_TIMEOUT_MS, value_parser = clap::value_parser!(u64).range(1..))]
        timeout: u64,
    },
    /// Send a message through one of the gateway's channels
    Send {
        /// To whom
        #[arg(long, value_name = "WHO")]
        to: String,
        /// What
        #[arg(long, value_name = "TEXT")]
        message: String,
        /// Through which channel
        #[arg(long, value_name = "NAME")]
        channel: Option<String>,
    },
    /// One message to the agent, and its answer
    Agent(agent::Args),
}

pub(crate) async fn run(context: &Context, args: &Args) -> u8 {
    match &args.command {
        GatewayCommand::Status { deep } => {
            with_gateway(context, None, async |gateway| {
                status::show(gateway, *deep).await
            })
            .await
        }
        GatewayCommand::Health => {
            with_gateway(context, None, async |gateway| health::once(gateway).await).await
        }
        GatewayCommand::Probe => {
            with_gateway(context, None, async |gateway| probe(gateway).await).await
        }
        GatewayCommand::Call {
            method,
            params,
            timeout,
        } => {
            let deadline = Duration::from_millis(*timeout);
            // Bad parameters are wrong usage: nothing is dialled for them.
            let parsed = parse(params);
            with_gateway_if(context, parsed, async |gateway, params| {
                call(gateway, method, params, deadline).await
            })
            .await
        }
        GatewayCommand::Send {
            to,
            message,
            channel,
        } => {
            let mut params = json!({
                "to": to,
                "message": message,
                "idempotencyKey": uuid::Uuid::new_v4().to_string(),
            });
            if let Some(channel) = channel {
                params["channel"] = channel.as_str().into();
            }
            with_gateway(context, None, async |gateway| {
                let deadline = Duration::from_millis(DEFAULT_TIMEOUT_MS);
                call(gateway, "send", params.clone(), deadline).await
            })
            .await
        }
        GatewayCommand::Agent(args) => agent::run(context, args).await,
    }
}

async fn with_gateway_if<T, F>(context: &Context, value: Result<T, UsageError>, command: F) -> u8
where
    T: Clone,
    F: AsyncFnOnce(&Connected, T) -> Result<Answer, Failure>,
{
    match value {
        Ok(value) => {
            with_gateway(context, None, async |gateway| command(gateway, value).await).await
        }
        Err(error) => super::connect::fail_early(context, None, error.into()),
    }
}

pub(super) fn parse(params: &str) -> Result<Value, UsageError> {
    match serde_json::from_str::<Value>(params) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(UsageError::new(
            "--params must be a JSON object",
            "for example --params '{\"limit\": 5}'",
        )),
        Err(error) => Err(UsageError::new(
            format!("--params is not JSON: {error}"),
            "for example --params '{\"limit\": 5}'",
        )),
    }
}

async fn call(
    gateway: &Connected,
    method: &str,
    params: Value,
    deadline: Duration,
) -> Result<Answer, Failure> {
    let result = gateway.client.call_value(method, params, deadline).await?;
    let mut answer = Answer::default();
    answer.say(serde_json::to_string_pretty(&result).unwrap_or_default());
    Ok(answer.with("method", method).with("result", result))
}

async fn probe(gateway: &Connected) -> Result<Answer, Failure> {
    let checked = health::once(gateway).await?;
    let hello = &gateway.hello;
    let view = gateway.link.view().borrow().clone();
    let mut answer = Answer {
        exit: checked.exit,
        json: checked.json,
        ..Answer::default()
    };
    answer.text = row_lines(&view.rows);
    answer.text.extend(checked.text);
    let scopes = hello
        .auth
        .as_ref()
        .map_or(Vec::new(), |auth| auth.scopes.clone());
    answer.say(format!("scopes    {}", printable(&scopes.join(", "), 300)));
    answer.say(format!("methods   {}", hello.features.methods.len()));
    let capabilities = hello.features.capabilities.join(", ");
    if !capabilities.is_empty() {
        answer.say(format!("can       {}", printable(&capabilities, 300)));
    }
    Ok(answer.with("scopes", scopes).with(
        "features",
        serde_json::to_value(&hello.features).unwrap_or_default(),
    ))
}
