//! What the services tell the rest of the gateway: one closed list of domain events, and the sink
//! that takes them to the connections.

use std::sync::Arc;

use crate::runs::RunEvent;
use crate::sessions::SessionEvent;

/// Something that happened to a session or a run, after it was committed.
#[derive(Debug, Clone)]
pub enum DomainEvent {
    /// A session row changed or a message was added to its transcript.
    Session(SessionEvent),
    /// A run started, moved on or ended.
    Run(RunEvent),
}

/// Takes domain events to whoever listens.
///
/// `emit` is called from the services' own tasks: it must return at once, and decides by itself
/// what to do with a listener that is too slow.
pub trait EventSink: Send + Sync + 'static {
    /// Hands over one event. Must not block.
    fn emit(&self, event: DomainEvent);
}

/// A sink over a bounded broadcast channel; a receiver that falls behind sees `Lagged`.
#[derive(Debug, Clone)]
pub struct BroadcastSink {
    tx: tokio::sync::broadcast::Sender<DomainEvent>,
}

impl BroadcastSink {
    /// Makes a sink that keeps at most `capacity` events for each receiver.
    pub fn new(capacity: usize) -> Self {
        Self {
            tx: tokio::sync::broadcast::Sender::new(capacity),
        }
    }

    /// A receiver of everything emitted from now on.
    pub fn subscribe(&self) -> tokio::sync::broadcast::Receiver<DomainEvent> {
        self.tx.subscribe()
    }
}

impl EventSink for BroadcastSink {
    fn emit(&self, event: DomainEvent) {
        // An error only says that nobody listens.
        let _ = self.tx.send(event);
    }
}

impl<T: EventSink + ?Sized> EventSink for Arc<T> {
    fn emit(&self, event: DomainEvent) {
        (**self).emit(event);
    }
}
