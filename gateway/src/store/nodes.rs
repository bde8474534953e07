//! What the store keeps of nodes.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StoreError;

type Result<T> = std::result::Result<T, StoreError>;

/// Capabilities and commands, each sorted and without doubles.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Surface {
    pub caps: Vec<String>,
    pub commands: Vec<String>,
}

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeFacts {
    pub display_name: Option<String>,
    pub platform: Option<String>,
    pub version: Option<String>,
    pub device_family: Option<String>,
    pub client_id: Option<String>,
    pub client_mode: Option<String>,
}

/// A node that was here, or that was approved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    pub node_id: String,
    pub facts: NodeFacts,
    /// Wins over its own name.
    pub given_name: Option<String>,
    /// What may be used; absent when nothing ever was approved.
    pub approved: Option<Surface>,
    pub approved_at: Option<i64>,
    /// SHA-256 in hexadecimal.
    pub token_hash: Option<String>,
    pub created_at: i64,
    pub last_connected_at: Option<i64>,
    pub last_disconnected_at: Option<i64>,
    /// JSON
    pub host_stats: Option<String>,
}

impl Node {
    /// The name to show.
    pub fn name(&self) -> Option<&str> {
        let own = self.facts.display_name.as_deref();
        self.given_name.as_deref().or(own)
    }
}

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRequest {
    pub request_id: String,
    pub node_id: String,
    pub facts: NodeFacts,
    pub asked: Surface,
    /// The device was let in without asking a person.
    pub silent: bool,
    /// From `node.pair.request`, not from a connection.
    pub by_name: bool,
    pub created_at: i64,
}

/// A request to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNodeRequest {
    pub node_id: String,
    pub facts: NodeFacts,
    pub asked: Surface,
    pub silent: bool,
    pub by_name: bool,
    pub at: i64,
}

/// What became of a [`NewNodeRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRequest {
    pub request: NodeRequest,
    /// False when the same was asked before and still waits.
    pub is_new: bool,
    /// An older request of the node that this one takes the place of.
    pub replaced: Option<String>,
}

/// Nodes and their requests.
#[async_trait]
pub trait NodeStore: Send + Sync {
    /// The newest first.
    async fn list(&self) -> Result<Vec<Node>>;
    async fn get(&self, node_id: &str) -> Result<Option<Node>>;
    /// Notes that it is here, and what it says about itself; makes the row when absent.
    async fn connected(&self, node_id: &str, facts: &NodeFacts, at: i64) -> Result<Node>;
    /// Notes that it left, with the last that it said about its host.
    async fn disconnected(&self, node_id: &str, host_stats: Option<&str>, at: i64) -> Result<()>;
    /// Approves without a request.
    async fn approve_now(
        &self,
        node_id: &str,
        facts: &NodeFacts,
        surface: &Surface,
        at: i64,
    ) -> Result<Node>;
    /// What waits, the newest first.
    async fn requests(&self) -> Result<Vec<NodeRequest>>;
    async fn get_request(&self, request_id: &str) -> Result<Option<NodeRequest>>;
    /// Stores a request; a node has at most one.
    async fn request(&self, new: NewNodeRequest) -> Result<StoredRequest>;
    /// Takes a request away and approves what it asks for, in one transaction.
    async fn approve(
        &self,
        request_id: &str,
        token_hash: Option<&str>,
        at: i64,
    ) -> Result<Option<(NodeRequest, Node)>>;
    /// Takes a request away.
    async fn take_request(&self, request_id: &str) -> Result<Option<NodeRequest>>;
    async fn rename(&self, node_id: &str, name: &str) -> Result<bool>;
    /// Forgets a node and its request; false when neither was there.
    async fn remove(&self, node_id: &str) -> Result<bool>;
}
