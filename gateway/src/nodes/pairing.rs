//! What of a node may be used: requests, approvals, and their end.

use clawline::layer::printable;
use clawline::protocol::methods::node_pairing::{
    NodePairListReply, NodePairRequestParams, NodePairRow,
};
use clawline::protocol::scope::Scope;
use clawline::secret::Secret;
use rand::RngExt as _;
use sha2::{Digest as _, Sha256};

use super::{Nodes, policy, rows};
use crate::auth::is_same;
use crate::conn::{ConnId, Principal};
use crate::pairing::PairingError;
use crate::settings::NodesSettings;
use crate::store::{NewNodeRequest, NodeFacts, NodeRequest, StoreError, now_ms};

/// Requests that may wait for nodes that were only named.
const MAX_BY_NAME: usize = 20;
/// Longest name of a node, in characters.
const MAX_NAME: usize = 64;
/// Longest id of a node that was only named, in bytes.
const MAX_ID: usize = 128;
/// Nobody speaks for a node that has a device.
const IS_DEVICE: &str = "nodeId: a paired device asks for itself when it connects";
/// Bytes of randomness in a pairing token.
const TOKEN_BYTES: usize = 32;

/// What cannot be done to nodes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    #[error("unknown requestId")]
    UnknownRequest,
    #[error("unknown nodeId")]
    UnknownNode,
    #[error("{0}")]
    Bad(&'static str),
    /// An approver gives only what it has itself.
    #[error("missing scope: {0}")]
    MissingScope(&'static str),
    #[error("too many node requests wait; decide about some first")]
    Full,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pairing(#[from] PairingError),
}

impl Nodes {
    /// What waits, and what is approved: of nodes that `by` [manages](Principal::manages), of all on the
    /// host (`None`).
    pub(crate) async fn pairings(
        &self,
        by: Option<&Principal>,
    ) -> Result<NodePairListReply, NodeError> {
        let is_shown = |node_id: &str| self.may_manage(by, node_id).is_ok();
        let requests = self.store.requests().await?;
        let nodes = self.store.list().await?;
        Ok(NodePairListReply {
            pending: requests
                .iter()
                .filter(|request| is_shown(&request.node_id))
                .map(rows::request_row)
                .collect(),
            paired: nodes
                .iter()
                .filter(|node| node.approved.is_some() && is_shown(&node.node_id))
                .map(rows::paired_row)
                .collect(),
        })
    }

    /// Stores a request and tells those who decide.
    pub(super) async fn ask(&self, new: NewNodeRequest) -> Result<(NodeRequest, bool), StoreError> {
        let stored = self.store.request(new).await?;
        let request = stored.request;
        if let Some(replaced) = stored.replaced {
            self.resolved(&replaced, &request.node_id, "rejected");
        }
        if stored.is_new {
            tracing::info!(node = %request.node_id, request = %request.request_id, "a node's commands wait for approval");
            self.requested(&rows::request_row(&request));
        }
        Ok((request, stored.is_new))
    }

    /// Asks on behalf of a node that is only named (version 3).
    pub(crate) async fn request_by_name(
        &self,
        params: NodePairRequestParams,
        settings: &NodesSettings,
    ) -> Result<(NodePairRow, bool), NodeError> {
        let node_id = params.node_id.trim();
        let is_id = !node_id.is_empty()
            && node_id.len() <= MAX_ID
            && node_id.chars().all(|c| c.is_ascii_graphic());
        if !is_id {
            return Err(NodeError::Bad("nodeId: 1 to 128 printable characters"));
        }
        let text = |text: &Option<String>| text.as_deref().map(|text| printable(text, MAX_NAME));
        let facts = NodeFacts {
            display_name: text(&params.display_name),
            platform: text(&params.platform),
            version: text(&params.version),
            device_family: text(&params.device_family),
            ..NodeFacts::default()
        };
        let claims = super::Claims::new(
            params.caps.as_deref().unwrap_or_default(),
            params.commands.as_deref().unwrap_or_default(),
            None,
            None,
            false,
        );
        let asked = claims.surface(&policy(&facts, settings));
        let _gate = self.gate.lock().await;
        if self.is_device(node_id).await? {
            return Err(NodeError::Bad(IS_DEVICE));
        }
        let waiting = self.store.requests().await?;
        let others = waiting
            .iter()
            .filter(|request| request.by_name && request.node_id != node_id);
        if others.count() >= MAX_BY_NAME {
            return Err(NodeError::Full);
        }
        let new = NewNodeRequest {
            node_id: node_id.to_owned(),
            facts,
            asked,
            silent: params.silent.unwrap_or(false),
            by_name: true,
            at: now_ms(),
        };
        let (request, is_new) = self.ask(new).await?;
        Ok((rows::request_row(&request), is_new))
    }

    /// Approves what a request asks for, of a node that `by` manages; `by` is `None` on the host. A node
    /// that was only named gets a token, told here and never again.
    pub(crate) async fn approve(
        &self,
        request_id: &str,
        by: Option<&Principal>,
    ) -> Result<NodePairRow, NodeError> {
        let _gate = self.gate.lock().await;
        let request = self.store.get_request(request_id).await?;
        let request = request.ok_or(NodeError::UnknownRequest)?;
        self.may_manage(by, &request.node_id)?;
        if request.by_name && self.is_device(&request.node_id).await? {
            self.store.take_request(request_id).await?;
            self.resolved(request_id, &request.node_id, "rejected");
            return Err(NodeError::Bad(IS_DEVICE));
        }
        if let Some(held) = by.map(|by| &by.scopes) {
            let needed = super::policy::approve_scopes(&request.asked.commands);
            let missing = needed
                .into_iter()
                .find(|scope| Scope::parse(scope).is_none_or(|scope| !held.grants(scope)));
            if let Some(scope) = missing {
                return Err(NodeError::MissingScope(scope));
            }
        }
        let token = request.by_name.then(fresh_token);
        let hash = token.as_ref().map(token_hash);
        let done = self
            .store
            .approve(request_id, hash.as_deref(), now_ms())
            .await?;
        let (request, node) = done.ok_or(NodeError::UnknownRequest)?;
        tracing::info!(node = %node.node_id, request = request_id, "a node's commands were approved");
        self.resolved(request_id, &request.node_id, "approved");
        let mut row = rows::paired_row(&node);
        if let Some(token) = token {
            row.more.insert("token".into(), token.expose().into());
        }
        Ok(row)
    }

    /// Turns a request down, of a node that `by` manages; the node.
    pub(crate) async fn reject(
        &self,
        request_id: &str,
        by: Option<&Principal>,
    ) -> Result<String, NodeError> {
        let _gate = self.gate.lock().await;
        let request = self.store.get_request(request_id).await?;
        let request = request.ok_or(NodeError::UnknownRequest)?;
        self.may_manage(by, &request.node_id)?;
        self.store.take_request(request_id).await?;
        self.resolved(request_id, &request.node_id, "rejected");
        Ok(request.node_id)
    }

    async fn is_device(&self, node_id: &str) -> Result<bool, StoreError> {
        Ok(self.devices.get(node_id).await?.is_some())
    }

    fn may_manage(&self, by: Option<&Principal>, node_id: &str) -> Result<(), PairingError> {
        match by.is_none_or(|by| self.pairing.may_manage(by, node_id)) {
            true => Ok(()),
            false => Err(PairingError::NotYours),
        }
    }

    /// Makes a change to a device while no command is on its way to a node: none that was looked at
    /// before goes out after it.
    pub(crate) async fn between_commands<T>(&self, change: impl Future<Output = T>) -> T {
        let _gate = self.gate.lock().await;
        change.await
    }

    /// Forgets what was approved of a node that `by` manages, and its device where it is nothing else,
    /// and closes its connections.
    pub(crate) async fn remove(
        &self,
        node_id: &str,
        by: Option<&Principal>,
        caller: Option<ConnId>,
    ) -> Result<(), NodeError> {
        self.may_manage(by, node_id)?;
        let _gate = self.gate.lock().await;
        let device = self.devices.get(node_id).await?;
        let is_node = device
            .as_ref()
            .is_some_and(|device| device.roles.contains_key(super::ROLE));
        let was_known = self.store.remove(node_id).await?;
        if !was_known && !is_node {
            return Err(NodeError::UnknownNode);
        }
        self.resolved("", node_id, "removed");
        tracing::info!(node = node_id, "node removed");
        if device.is_some_and(|device| is_node && device.roles.len() == 1) {
            self.pairing.remove(node_id, caller).await?;
        } else {
            let role = Some(super::ROLE);
            self.registry.kick_device(node_id, role, caller);
        }
        Ok(())
    }

    /// Gives a node that `by` manages another name; the name as it is kept.
    pub(crate) async fn rename(
        &self,
        node_id: &str,
        name: &str,
        by: &Principal,
    ) -> Result<String, NodeError> {
        self.may_manage(Some(by), node_id)?;
        let shown: String = printable(name.trim(), MAX_NAME)
            .chars()
            .take(MAX_NAME)
            .collect();
        if shown.is_empty() {
            return Err(NodeError::Bad("displayName required"));
        }
        if self.store.rename(node_id, &shown).await? {
            Ok(shown)
        } else {
            Err(NodeError::UnknownNode)
        }
    }

    /// The node of a pairing token (version 3).
    pub(crate) async fn verify(
        &self,
        node_id: &str,
        token: &str,
    ) -> Result<Option<NodePairRow>, NodeError> {
        let node = self.store.get(node_id).await?;
        let shown = token_hash(&Secret::new(token));
        let is_right = |held: &String| is_same(&self.checks, &Secret::new(held.clone()), &shown);
        Ok(node
            .filter(|node| node.token_hash.as_ref().is_some_and(is_right))
            .map(|node| rows::paired_row(&node)))
    }
}

fn fresh_token() -> Secret {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let bytes: [u8; TOKEN_BYTES] = rand::rng().random();
    Secret::new(URL_SAFE_NO_PAD.encode(bytes))
}

fn token_hash(token: &Secret) -> String {
    let digest = Sha256::digest(token.expose().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
