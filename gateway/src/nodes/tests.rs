//! What becomes of a command whose node is about to go, over a real store.

use std::time::Duration;

use clawline::protocol::hello::ClientInfo;
use clawline::protocol::limits::close;
use clawline::protocol::methods::node_host::INVOKE_REQUEST;
use clawline::protocol::methods::nodes::NodeInvokeParams;
use clawline::protocol::scope::{Role, Scopes};
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::approvals::{Approvals, PolicyFile};
use crate::auth::{AuthMethod, DeviceTokens, Listener};
use crate::conn::Principal;
use crate::settings::SilentScopes;
use crate::store::Store;

const NODE: &str = "node";
const DEADLINE: Duration = Duration::from_secs(30);

struct World {
    nodes: Nodes,
    approvals: Approvals,
    _home: tempfile::TempDir,
}

async fn world() -> World {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("gateway.db")).await.unwrap();
    let registry: Arc<Registry> = Arc::default();
    let pairing = Pairing::new(
        store.devices(),
        store.pairing(),
        store.setup_codes(),
        DeviceTokens::new(store.gateway_secret().clone()),
        SilentScopes::Asked,
        registry.clone(),
        Arc::default(),
    );
    let policy = PolicyFile::new(home.path());
    let approvals = Approvals::start(store.approvals(), registry.clone(), policy, Arc::default());
    let nodes = Nodes::new(
        store.nodes(),
        store.devices(),
        pairing,
        registry,
        TaskTracker::new(),
        Arc::default(),
    );
    World {
        nodes,
        approvals: approvals.await.unwrap(),
        _home: home,
    }
}

fn node() -> Arc<Conn> {
    let here = "127.0.0.1:1".parse().unwrap();
    let principal = Principal {
        role: Role::Node,
        scopes: Scopes::default(),
        device_id: Some(NODE.into()),
        generation: Some(1),
        method: AuthMethod::Token,
        shared_tag: None,
    };
    let caller = crate::auth::Caller {
        local: here,
        peer: here,
        client: here.ip(),
        listener: Listener::Main,
        has_origin: false,
        via_proxy: false,
        identity: None,
        identity_fault: None,
    };
    let stop = CancellationToken::new();
    let client = ClientInfo::default();
    let mut conn = Conn::new(Protocol::V4, principal, client, &[], caller, &stop);
    conn.node = Some(Box::new(Claims::default()));
    Arc::new(conn)
}

#[tokio::test]
async fn a_connection_that_has_left_or_is_about_to_is_asked_nothing() {
    let nodes = world().await.nodes;
    let conn = node();
    let joined = nodes.join(&conn).unwrap();
    let session = nodes.live.session(NODE).unwrap();
    let mut waiting = nodes.live.expect("i1", &session).unwrap();
    drop(joined);
    assert!(waiting.try_recv().is_err(), "who waited learns it");
    // Found before it left, and asked after that.
    let asked = nodes.live.expect("i2", &session);
    assert_eq!(asked.unwrap_err(), InvokeError::Gone);

    let again = node();
    let _joined = nodes.join(&again).unwrap();
    let session = nodes.live.session(NODE).unwrap();
    again.cut(close::AUTH_CHANGED, "device removed");
    assert!(nodes.live.session(NODE).is_none());
    let asked = nodes.live.expect("i3", &session);
    assert_eq!(asked.unwrap_err(), InvokeError::Gone);
}

#[tokio::test]
async fn a_removed_device_is_sent_neither_what_waits_nor_what_comes_later() {
    let conn = node();
    let push = Push::plain(INVOKE_REQUEST, &1).direct();
    conn.outbox.push(&push);
    conn.cut(close::AUTH_CHANGED, "device removed");
    conn.outbox.push(&push);
    assert!(conn.outbox.take().is_none());
}

#[tokio::test]
async fn a_device_is_changed_between_two_commands_and_not_during_one() {
    let nodes = world().await.nodes;
    let on_its_way = nodes.gate.lock().await;
    let mut change = Box::pin(nodes.between_commands(async { "done" }));
    assert!((&mut change).now_or_never().is_none());
    drop(on_its_way);
    let done = tokio::time::timeout(DEADLINE, change).await;
    assert_eq!(done, Ok("done"));
}

#[tokio::test]
async fn the_deadline_of_a_command_counts_while_it_waits_for_its_turn() {
    let world = world().await;
    let _before_it = world.nodes.gate.lock().await;
    let params = NodeInvokeParams {
        node_id: NODE.into(),
        command: "system.which".into(),
        idempotency_key: "k".into(),
        timeout_ms: Some(1),
        ..NodeInvokeParams::default()
    };
    let (caller, settings) = (Caller { device_id: None }, NodesSettings::default());
    let nodes = &world.nodes;
    let asked = nodes.invoke(&world.approvals, &caller, params, &settings);
    let done = tokio::time::timeout(DEADLINE, asked).await;
    assert_eq!(done.expect("in time"), Err(InvokeError::TimedOut));
}
