//! `node.pair.*`: which commands of a node may be used.

use clawline::protocol::methods::node_pairing::{
    NodePairApprove, NodePairApproveReply, NodePairList, NodePairListReply, NodePairReject,
    NodePairRejectReply, NodePairRemove, NodePairRemoveReply, NodePairRequest,
    NodePairRequestReply, NodePairVerify, NodePairVerifyReply,
};

use super::nodes::node_error;
use super::{Call, Failure, Table};
use crate::state::App;

pub(crate) fn rows(table: Table) -> Table {
    table
        .on::<NodePairList, _>(list)
        .on::<NodePairApprove, _>(approve)
        .on::<NodePairReject, _>(reject)
        .on::<NodePairRemove, _>(remove)
        .on::<NodePairRequest, _>(request)
        .on::<NodePairVerify, _>(verify)
}

async fn list(app: App, call: Call<NodePairList>) -> Result<NodePairListReply, Failure> {
    let listed = app.nodes.pairings(Some(&call.conn.principal)).await;
    Ok(listed.map_err(node_error)?)
}

async fn approve(app: App, call: Call<NodePairApprove>) -> Result<NodePairApproveReply, Failure> {
    let request_id = call.params.request_id;
    let by = Some(&call.conn.principal);
    let node = app.nodes.approve(&request_id, by).await;
    Ok(NodePairApproveReply {
        node: node.map_err(node_error)?,
        request_id,
    })
}

async fn reject(app: App, call: Call<NodePairReject>) -> Result<NodePairRejectReply, Failure> {
    let request_id = call.params.request_id;
    let by = Some(&call.conn.principal);
    let node_id = app.nodes.reject(&request_id, by).await;
    Ok(NodePairRejectReply {
        node_id: node_id.map_err(node_error)?,
        request_id,
    })
}

async fn remove(app: App, call: Call<NodePairRemove>) -> Result<NodePairRemoveReply, Failure> {
    let node_id = call.params.node_id;
    let (by, caller) = (Some(&call.conn.principal), Some(call.conn.id));
    let removed = app.nodes.remove(&node_id, by, caller).await;
    removed.map_err(node_error)?;
    Ok(NodePairRemoveReply { node_id })
}

async fn request(app: App, call: Call<NodePairRequest>) -> Result<NodePairRequestReply, Failure> {
    let settings = app.settings();
    let asked = app.nodes.request_by_name(call.params, &settings.nodes);
    let (request, created) = asked.await.map_err(node_error)?;
    Ok(NodePairRequestReply {
        status: "pending".to_owned(),
        request,
        created,
    })
}

async fn verify(app: App, call: Call<NodePairVerify>) -> Result<NodePairVerifyReply, Failure> {
    let params = &call.params;
    let node = app.nodes.verify(&params.node_id, &params.token).await;
    let node = node.map_err(node_error)?;
    Ok(NodePairVerifyReply {
        ok: node.is_some(),
        node,
    })
}
