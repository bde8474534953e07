//! Nodes: hosts that carry out commands. Who is connected, what of each may be used, and the calls
//! that wait for a result.
//!
//! That a device is paired says that it may connect as a node. Which of its commands may be used is an
//! approval of its own, looked up again at every command.

mod command_text;
mod invoke;
mod live;
mod once;
mod pairing;
mod policy;
mod rows;
mod surface;
mod system_run;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use clawline::layer::printable;
use clawline::protocol::Protocol;
use clawline::protocol::methods::node_pairing::NodePairRow;
use clawline::protocol::methods::nodes::NodeRow;
use serde_json::json;
use tokio_util::task::TaskTracker;

use crate::conn::{Conn, Push, Registry};
use crate::pairing::Pairing;
use crate::policy::Policy;
use crate::settings::{NodesSettings, V3Commands};
use crate::store::{DeviceStore, NewNodeRequest, Node, NodeFacts, NodeStore, StoreError, now_ms};

pub(crate) use invoke::{Caller, InvokeError, MAX_RESULT, excess};
pub(crate) use live::{Live, Session};
pub(crate) use pairing::NodeError;
pub(crate) use surface::{Claims, clean};
pub(crate) use system_run::SystemRun;

use once::Once;
use policy::CommandPolicy;
use surface::Step;

/// The role that a device has as a node.
const ROLE: &str = "node";

/// The service. A cheap clone.
#[derive(Clone)]
pub(crate) struct Nodes(Arc<Inner>);

pub(crate) struct Inner {
    store: Arc<dyn NodeStore>,
    devices: Arc<dyn DeviceStore>,
    pairing: Pairing,
    registry: Arc<Registry>,
    pub(crate) live: Live,
    once: Once,
    /// What is approved does not change between the look at it and the command that goes out.
    gate: tokio::sync::Mutex<()>,
    /// Short writes after a node has left.
    tasks: TaskTracker,
    checks: Arc<Policy>,
}

impl std::ops::Deref for Nodes {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Nodes {
    pub(crate) fn new(
        store: Arc<dyn NodeStore>,
        devices: Arc<dyn DeviceStore>,
        pairing: Pairing,
        registry: Arc<Registry>,
        tasks: TaskTracker,
        checks: Arc<Policy>,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            devices,
            pairing,
            registry,
            live: Live::default(),
            once: Once::default(),
            gate: tokio::sync::Mutex::default(),
            tasks,
            checks,
        }))
    }

    /// A node is about to be greeted: notes what it says, and asks for an approval where one is
    /// needed.
    pub(crate) async fn admit(
        &self,
        conn: &Conn,
        settings: &NodesSettings,
    ) -> Result<(), StoreError> {
        let (Some(node_id), Some(claims)) = (&conn.principal.device_id, &conn.node) else {
            return Ok(());
        };
        let _gate = self.gate.lock().await;
        let (facts, now) = (facts(conn), now_ms());
        let node = self.store.connected(node_id, &facts, now).await?;
        let asked = claims.surface(&policy(&facts, settings));
        let needs_no_approval = conn.version == Protocol::V3
            && claims.is_own
            && settings.v3_commands == V3Commands::Allow;
        match surface::decide(&asked, &node, needs_no_approval) {
            Step::Nothing => self.withdraw(node_id).await?,
            Step::ApproveNow => {
                self.withdraw(node_id).await?;
                self.store.approve_now(node_id, &facts, &asked, now).await?;
                tracing::info!(node = %node_id, "version-3 node of the same user: its commands may be used");
            }
            Step::Ask => {
                let new = NewNodeRequest {
                    node_id: node_id.clone(),
                    facts,
                    asked,
                    silent: claims.is_own,
                    by_name: false,
                    at: now,
                };
                self.ask(new).await?;
            }
        }
        Ok(())
    }

    /// Takes back a request whose node does not ask for it any more, or never did.
    async fn withdraw(&self, node_id: &str) -> Result<(), StoreError> {
        let waiting = self.store.requests().await?;
        let of_node = waiting.iter().find(|request| request.node_id == node_id);
        if let Some(request) = of_node
            && self
                .store
                .take_request(&request.request_id)
                .await?
                .is_some()
        {
            self.resolved(&request.request_id, node_id, "rejected");
        }
        Ok(())
    }

    /// A greeted node is here, until what comes back is dropped.
    pub(crate) fn join(&self, conn: &Arc<Conn>) -> Option<Joined> {
        let node_id = conn.principal.device_id.clone()?;
        let claims = conn.node.as_deref().cloned()?;
        let session = Arc::new(Session::new(node_id, conn.clone(), claims));
        self.live.join(session.clone());
        Some(Joined {
            nodes: self.clone(),
            session,
        })
    }

    /// Nodes, as a connection of this version sees them.
    pub(crate) async fn list(
        &self,
        version: Protocol,
        settings: &NodesSettings,
    ) -> Result<Vec<NodeRow>, StoreError> {
        let devices = self.devices.list().await?;
        let mut nodes = self.store.list().await?;
        let requests = self.store.requests().await?;
        let has_role = |device: &crate::store::Device| {
            let role = device.roles.get(ROLE);
            role.is_some_and(|role| role.revoked_at.is_none())
        };
        let mut rows = Vec::new();
        for device in devices.iter().filter(|device| has_role(device)) {
            let at = nodes.iter().position(|n| n.node_id == device.device_id);
            let node = at.map(|at| nodes.swap_remove(at)).unwrap_or_else(|| Node {
                node_id: device.device_id.clone(),
                ..Node::default()
            });
            rows.push((node, Some(device)));
        }
        let by_name = nodes.into_iter().filter(|node| node.approved.is_some());
        rows.extend(by_name.map(|node| (node, None)));
        let mut rows: Vec<NodeRow> = rows
            .iter()
            .map(|(node, device)| {
                let session = self.live.session(&node.node_id);
                let request = requests.iter().find(|r| r.node_id == node.node_id);
                rows::node_row(&rows::Sources {
                    node,
                    device: *device,
                    session: session.as_deref(),
                    request,
                    settings,
                    version,
                })
            })
            .collect();
        rows.sort_by(|a, b| {
            (b.connected.cmp(&a.connected))
                .then_with(|| a.display_name.cmp(&b.display_name))
                .then_with(|| a.node_id.cmp(&b.node_id))
        });
        Ok(rows)
    }

    /// How many nodes are connected.
    pub(crate) fn connected(&self) -> usize {
        self.live.count()
    }

    /// Whether something of the node is approved; the request that waits, where one does.
    pub(crate) async fn approval(
        &self,
        node_id: &str,
    ) -> Result<(bool, Option<String>), StoreError> {
        let node = self.store.get(node_id).await?;
        let is_approved = node.is_some_and(|node| node.approved.is_some());
        let waiting = self.store.requests().await?;
        let request = waiting.into_iter().find(|r| r.node_id == node_id);
        Ok((is_approved, request.map(|request| request.request_id)))
    }

    fn resolved(&self, request_id: &str, node_id: &str, decision: &str) {
        let payload = json!({
            "requestId": request_id, "nodeId": node_id, "decision": decision, "ts": now_ms(),
        });
        let push = Push::plain("node.pair.resolved", &payload);
        self.registry.broadcast_device(&push, node_id);
        if let Some(session) = self.live.session(node_id) {
            session.conn.outbox.push(&push.direct());
        }
    }

    fn requested(&self, row: &NodePairRow) {
        let push = Push::plain("node.pair.requested", row);
        self.registry.broadcast_device(&push, &row.node_id);
    }
}

/// What a connection says about itself.
fn facts(conn: &Conn) -> NodeFacts {
    let client = &conn.client;
    NodeFacts {
        display_name: client
            .display_name
            .as_deref()
            .map(|name| printable(name, 64)),
        platform: Some(client.platform.clone()),
        version: Some(client.version.clone()),
        device_family: client.device_family.clone(),
        client_id: Some(client.id.clone()),
        client_mode: Some(client.mode.clone()),
    }
}

fn policy<'a>(facts: &NodeFacts, settings: &'a NodesSettings) -> CommandPolicy<'a> {
    let platform = facts.platform.as_deref();
    CommandPolicy::new(platform, facts.device_family.as_deref(), settings)
}

/// A node's place among the connected ones. Dropped, its callers learn at once that it is gone.
pub(crate) struct Joined {
    nodes: Nodes,
    session: Arc<Session>,
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.nodes.live.leave(&self.session);
        let (nodes, node_id) = (self.nodes.clone(), self.session.node_id.clone());
        let stats = self.session.said(|said| said.host_stats.take());
        self.nodes.tasks.spawn(async move {
            let stats = stats.map(|stats| stats.to_string());
            let noted = nodes
                .store
                .disconnected(&node_id, stats.as_deref(), now_ms());
            if let Err(error) = noted.await {
                tracing::warn!(%error, node = %node_id, "that a node left was not written down");
            }
        });
    }
}
