//! How a connection tells how far it has come.

use std::sync::Arc;
use std::time::Duration;

use crate::layer::{Layer, RowState};

/// One row's news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowNews {
    /// Which layer.
    pub layer: Layer,
    /// How far it has come.
    pub state: RowState,
    /// How long it took.
    pub took: Option<Duration>,
    /// What the row says.
    pub detail: String,
}

/// Where the news goes; a clone for a jump host puts the host's name in front.
#[derive(Clone)]
pub struct Report {
    to: Arc<dyn Fn(RowNews) + Send + Sync>,
    prefix: String,
}

impl Report {
    /// Reports to a function, which must be quick.
    pub fn new(to: impl Fn(RowNews) + Send + Sync + 'static) -> Self {
        Self {
            to: Arc::new(to),
            prefix: String::new(),
        }
    }

    /// The same, for a server on the way.
    #[must_use]
    pub(crate) fn of_jump(&self, alias: &str) -> Self {
        Self {
            to: self.to.clone(),
            prefix: format!("{alias}: "),
        }
    }

    pub(crate) fn busy(&self, layer: Layer, detail: &str) {
        self.row(layer, RowState::Busy, None, detail);
    }

    pub(crate) fn ok(&self, layer: Layer, took: Option<Duration>, detail: &str) {
        self.row(layer, RowState::Ok, took, detail);
    }

    pub(crate) fn skipped(&self, layer: Layer, detail: &str) {
        self.row(layer, RowState::Skipped, None, detail);
    }

    fn row(&self, layer: Layer, state: RowState, took: Option<Duration>, detail: &str) {
        (self.to)(RowNews {
            layer,
            state,
            took,
            detail: format!("{}{detail}", self.prefix),
        });
    }
}
