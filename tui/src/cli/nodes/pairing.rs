//! `clawline nodes pending`, `approve` and `reject`: what nodes offer, and whether it may be used.

use clawline::layer::printable;
use clawline::protocol::methods::NoParams;
use clawline::protocol::methods::devices::RequestIdParams;
use clawline::protocol::methods::node_pairing::{
    NodePairApprove, NodePairList, NodePairReject, NodePairRow,
};

use super::SHORT_ID;
use crate::cli::connect::{Answer, Connected};
use crate::cli::failure::Failure;

pub(super) async fn pending(gateway: &Connected) -> Result<Answer, Failure> {
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

pub(super) async fn approve(gateway: &Connected, request: &str) -> Result<Answer, Failure> {
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

pub(super) async fn reject(gateway: &Connected, request: &str) -> Result<Answer, Failure> {
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
