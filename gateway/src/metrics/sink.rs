//! Counts domain events on their way.

use std::sync::Arc;

use super::Metrics;
use crate::events::{DomainEvent, EventSink};
use crate::runs::RunStep;
use crate::sessions::SessionEvent;

/// A sink that counts what it hands on.
pub(crate) struct Metered<S> {
    pub(crate) inner: S,
    pub(crate) metrics: Arc<Metrics>,
}

impl<S: EventSink> EventSink for Metered<S> {
    fn emit(&self, event: DomainEvent) {
        match &event {
            DomainEvent::Session(SessionEvent::Message { .. }) => self.metrics.messages.one(),
            DomainEvent::Session(SessionEvent::Changed { .. }) => {}
            DomainEvent::Run(run) => match &run.step {
                RunStep::Started { .. } => self.metrics.runs_started.one(),
                RunStep::Final { .. } | RunStep::Answered { .. } => self.metrics.runs_done.one(),
                RunStep::Aborted { .. } => self.metrics.runs_aborted.one(),
                RunStep::Error { .. } => self.metrics.runs_failed.one(),
                RunStep::Delta { .. } | RunStep::Thinking { .. } => {}
            },
        }
        self.inner.emit(event);
    }
}
