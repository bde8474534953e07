//! `clawline devices`: who may connect, and who asks to.

use clap::Subcommand;
use clawline::layer::printable;
use clawline::protocol::methods::NoParams;
use clawline::protocol::methods::devices::{
    DevicePairApprove, DevicePairList, DevicePairReject, DeviceRow, RequestIdParams,
};

use super::connect::{Answer, Connected, with_gateway};
use super::context::Context;
use super::failure::Failure;

/// Arguments of `devices`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<DevicesCommand>,
}

#[derive(Debug, Subcommand)]
enum DevicesCommand {
    /// Devices that may connect, and those that ask to (this is what `devices` alone does)
    List,
    /// Let a device in
    Approve {
        /// The request, as `devices list` shows it
        request: String,
    },
    /// Turn a device away
    Reject {
        /// The request, as `devices list` shows it
        request: String,
    },
}

pub(crate) async fn run(context: &Context, args: &Args) -> u8 {
    with_gateway(context, None, async |gateway| match &args.command {
        None | Some(DevicesCommand::List) => list(gateway).await,
        Some(DevicesCommand::Approve { request }) => decide(gateway, request, true).await,
        Some(DevicesCommand::Reject { request }) => decide(gateway, request, false).await,
    })
    .await
}

async fn list(gateway: &Connected) -> Result<Answer, Failure> {
    let reply = gateway.client.call::<DevicePairList>(NoParams {}).await?;
    let mut answer = Answer::default();
    for row in &reply.pending {
        let request = row.request_id.as_deref().unwrap_or("?");
        answer.say(format!(
            "asks    {}  {}  clawline devices approve {}",
            device(row),
            printable(&row.scopes.join(","), 200),
            printable(request, 80),
        ));
    }
    for row in &reply.paired {
        answer.say(format!("paired  {}", device(row)));
    }
    if answer.text.is_empty() {
        answer.say("no devices");
    }
    Ok(answer
        .with(
            "pending",
            serde_json::to_value(&reply.pending).unwrap_or_default(),
        )
        .with(
            "paired",
            serde_json::to_value(&reply.paired).unwrap_or_default(),
        ))
}

fn device(row: &DeviceRow) -> String {
    let id: String = row.device_id.chars().take(12).collect();
    let name = row.display_name.as_deref().unwrap_or("unnamed");
    let platform = row.platform.as_deref().unwrap_or("");
    let roles = if row.roles.is_empty() {
        row.role.clone()
    } else {
        row.roles.join(",")
    };
    let text = format!("{id}  {name}  {platform}  {roles}");
    printable(&text, 200)
}

async fn decide(gateway: &Connected, request: &str, approve: bool) -> Result<Answer, Failure> {
    let params = RequestIdParams {
        request_id: request.to_owned(),
    };
    let result = if approve {
        gateway.client.call::<DevicePairApprove>(params).await?
    } else {
        gateway.client.call::<DevicePairReject>(params).await?
    };
    let mut answer = Answer::default();
    let done = if approve {
        "may connect now"
    } else {
        "was turned away"
    };
    answer.say(format!("the device of {} {done}", printable(request, 80)));
    Ok(answer.with("result", result))
}
