//! Who is connected: sends events to those who may see them, and keeps presence.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clawline::protocol::event;
use clawline::protocol::frame::StateVersion;
use clawline::protocol::limits::close;
use clawline::protocol::methods::system::PresenceEntry;
use clawline::protocol::scope::{Needs, Role};
use clawline::protocol::{Protocol, v3};
use tokio::sync::Notify;

use super::outbox::{Dropped, Push};
use super::{Conn, ConnId, Topic};

/// Why connections of a secret that is void are closed.
pub(super) const AUTH_CHANGED: &str = "gateway auth changed";
/// Connections that may do nothing.
const MAX_GUESTS: usize = 64;
/// Presence names at most so many connections.
const MAX_PRESENCE: usize = 200;

/// Everybody who got a hello and is still there.
#[derive(Default)]
pub(crate) struct Registry {
    conns: Mutex<HashMap<ConnId, Arc<Conn>>>,
    presence_version: AtomicU64,
    health_version: AtomicU64,
    presence_changed: Notify,
    /// Of connections that have ended.
    dropped: Mutex<Dropped>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConnId, Arc<Conn>>> {
        self.conns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection; it is taken out again when the guard is dropped.
    pub(crate) fn join(self: &Arc<Self>, conn: Arc<Conn>) -> Joined {
        let id = conn.id;
        let is_shown = is_shown(&conn);
        self.lock().insert(id, conn);
        if is_shown {
            self.presence_moved();
        }
        Joined {
            registry: self.clone(),
            id,
        }
    }

    /// How many are connected.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Events that were not sent, since the start.
    pub(crate) fn dropped(&self) -> Dropped {
        let conns = self.lock();
        let mut sum = *self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        for conn in conns.values() {
            sum += conn.outbox.dropped();
        }
        sum
    }

    /// The devices that have a connection now.
    pub(crate) fn connected_devices(&self) -> HashSet<String> {
        self.lock()
            .values()
            .filter_map(|conn| conn.principal.device_id.clone())
            .collect()
    }

    /// Sends an event to all who may see it.
    pub(crate) fn broadcast(&self, push: &Push) {
        self.broadcast_each(event::needs(push.name), |_| push);
    }

    /// Sends an event to all who may see it, to each in the form that is for it.
    pub(crate) fn broadcast_each<'p>(&self, needs: Needs, form: impl Fn(&Conn) -> &'p Push) {
        for conn in self.lock().values() {
            if !conn.principal.satisfies(needs) {
                continue;
            }
            let push = form(conn);
            if conn.version == Protocol::V4 || v3::has_event(push.name) {
                conn.outbox.push(push);
            }
        }
    }

    /// Sends an event to all that fit, whatever its name asks for.
    pub(crate) fn send_where(&self, push: &Push, fits: impl Fn(&Conn) -> bool) {
        for conn in self.lock().values().filter(|conn| fits(conn)) {
            conn.outbox.push(push);
        }
    }

    /// Whether any connection fits.
    pub(crate) fn any(&self, fits: impl Fn(&Conn) -> bool) -> bool {
        self.lock().values().any(|conn| fits(conn))
    }

    /// Sends an event about a device to all who may see it and that device.
    pub(crate) fn broadcast_device(&self, push: &Push, device_id: &str) {
        let needs = event::needs(push.name);
        for conn in self.lock().values() {
            if conn.principal.satisfies(needs) && conn.principal.manages(device_id) {
                conn.outbox.push(push);
            }
        }
    }

    /// Sends every node a copy of its own.
    pub(crate) fn to_nodes(&self, push: &Push) {
        let push = push.direct();
        for conn in self.lock().values() {
            if conn.principal.role == Role::Node {
                conn.outbox.push(&push);
            }
        }
    }

    /// Sends an event about one session to all who may see it and want it.
    pub(crate) fn broadcast_session(&self, push: &Push, topic: Topic, key: &str) {
        let needs = event::needs(push.name);
        for conn in self.lock().values() {
            if conn.principal.satisfies(needs) && conn.wants(topic, key) {
                conn.outbox.push(push);
            }
        }
    }

    /// Whether anybody would be sent an event of this name about this session.
    pub(crate) fn is_wanted(&self, name: &str, topic: Topic, key: &str) -> bool {
        let needs = event::needs(name);
        self.lock()
            .values()
            .any(|conn| conn.principal.satisfies(needs) && conn.wants(topic, key))
    }

    /// Tells every connection that the gateway is about to stop.
    pub(crate) fn announce_stop(&self) {
        for conn in self.lock().values() {
            conn.announce_stop();
        }
    }

    /// Closes the connections of a device (in one role where given): its credentials changed. They are
    /// sent nothing more, but for the `caller`, where it is one of them, which gets its answer first.
    pub(crate) fn kick_device(&self, device_id: &str, role: Option<&str>, caller: Option<ConnId>) {
        for conn in self.lock().values() {
            let principal = &conn.principal;
            if principal.device_id.as_deref() != Some(device_id)
                || role.is_some_and(|role| principal.role.as_str() != role)
            {
                continue;
            }
            if caller == Some(conn.id) {
                conn.end_after_answers(close::AUTH_CHANGED, "device removed");
            } else {
                conn.cut(close::AUTH_CHANGED, "device removed");
            }
        }
    }

    /// Closes the connections that came in by a shared secret, or in a mode, that is void now: any
    /// but the one with this tag.
    pub(crate) fn kick_shared(&self, tag: u64) {
        for conn in self.lock().values() {
            if conn.principal.shared_tag.is_some_and(|held| held != tag) {
                conn.kick(close::AUTH_CHANGED, AUTH_CHANGED);
            }
        }
    }

    /// Ends the oldest of those who may do nothing when there are as many as there may be: whoever has the
    /// secret and nothing else takes no descriptor from those who may do something.
    pub(crate) fn make_room_for_guest(&self) {
        let conns = self.lock();
        let is_here = |conn: &&Arc<Conn>| conn.principal.is_guest() && !conn.is_leaving();
        if conns.values().filter(is_here).count() < MAX_GUESTS {
            return;
        }
        let oldest = conns
            .values()
            .filter(is_here)
            .min_by_key(|conn| conn.connected_at);
        if let Some(oldest) = oldest {
            oldest.kick(close::TRY_AGAIN, "too many connections without scopes");
        }
    }

    /// The counters now.
    pub(crate) fn state_version(&self) -> StateVersion {
        StateVersion {
            presence: self.presence_version.load(Ordering::Relaxed),
            health: self.health_version.load(Ordering::Relaxed),
        }
    }

    /// Counts a new health snapshot.
    pub(crate) fn health_moved(&self) -> StateVersion {
        self.health_version.fetch_add(1, Ordering::Relaxed);
        self.state_version()
    }

    fn presence_moved(&self) {
        self.presence_version.fetch_add(1, Ordering::Relaxed);
        self.presence_changed.notify_one();
    }

    /// Waits until presence has changed.
    pub(crate) async fn presence_change(&self) {
        self.presence_changed.notified().await;
    }

    /// Who is there, one entry a program of a device; `own` is the gateway's own and comes first.
    pub(crate) fn presence(&self, own: PresenceEntry) -> Vec<PresenceEntry> {
        let mut entries: Vec<PresenceEntry> = self
            .lock()
            .values()
            .filter(|conn| is_shown(conn))
            .map(|conn| entry(conn))
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.ts));
        let mut seen = HashSet::new();
        entries.retain(|entry| seen.insert((entry.device_id.clone(), entry.instance_id.clone())));
        entries.truncate(MAX_PRESENCE);
        entries.insert(0, own);
        entries
    }
}

/// Short calls of command lines without a device are not worth a line.
fn is_shown(conn: &Conn) -> bool {
    conn.principal.device_id.is_some()
}

fn entry(conn: &Conn) -> PresenceEntry {
    let client = &conn.client;
    let name = client
        .display_name
        .clone()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| client.id.clone());
    PresenceEntry {
        text: Some(format!("Node: {name} · mode {}", client.mode)),
        host: Some(name),
        ip: Some(conn.caller.client.to_string()),
        version: said(&client.version),
        platform: said(&client.platform),
        device_family: client.device_family.as_deref().and_then(said),
        mode: Some(client.mode.clone()),
        reason: Some("connect".to_owned()),
        ts: conn.connected_at,
        device_id: conn.principal.device_id.clone(),
        roles: Some(vec![conn.principal.role.to_string()]),
        scopes: Some(conn.principal.scopes.to_wire()),
        instance_id: client.instance_id.as_deref().and_then(said),
        client_id: Some(client.id.clone()),
        online_since: Some(conn.connected_at),
    }
}

/// What a client said of itself; an empty text says nothing.
fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Membership in the registry.
pub(crate) struct Joined {
    registry: Arc<Registry>,
    id: ConnId,
}

impl Drop for Joined {
    fn drop(&mut self) {
        let gone = self.registry.lock().remove(&self.id);
        if let Some(conn) = gone {
            conn.outbox.close();
            let mut sum = self.registry.dropped.lock();
            *sum.as_deref_mut().unwrap_or(&mut Dropped::default()) += conn.outbox.dropped();
            drop(sum);
            if is_shown(&conn) {
                self.registry.presence_moved();
            }
        }
    }
}
