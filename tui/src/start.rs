//! What the command line hands to the app.

use clawline::config::UiConfig;

use crate::link::{Connector, LinkRequest};

/// Everything the app needs to start.
#[derive(Debug, Clone)]
pub(crate) struct AppStart {
    /// Where to; `None` opens the first-run screen, which asks and uses `connector`.
    pub link: Option<LinkRequest>,
    /// Makes a request out of what is typed on the first-run screen.
    pub connector: Connector,
    /// `--session`, or the session that the config names for the host.
    pub session: Option<String>,
    /// `--agent`.
    pub agent: Option<String>,
    /// `--message`: sent once the chat is open.
    pub message: Option<String>,
    /// `ui.*`, with `--plain` and `--no-color` folded in.
    pub ui: UiConfig,
    /// Worth saying at the start, e.g. a config file that others can read.
    pub notes: Vec<String>,
}
