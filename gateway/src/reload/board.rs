//! How the last reading of the configuration went, for whoever asks.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::store::now_ms;

/// What `health` and `status` say of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<State>);

#[derive(Debug, Clone, Default)]
struct State {
    is_watching: bool,
    /// When it last changed anything, or could not.
    at: Option<i64>,
    problems: Vec<String>,
    needs_restart: Vec<String>,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watching(&self, is_watching: bool) {
        self.lock().is_watching = is_watching;
    }

    /// The file can be used. True when that, or what needs a restart, is news.
    pub(super) fn good(&self, needs_restart: &[String]) -> bool {
        let mut state = self.lock();
        let is_news = !state.problems.is_empty() || state.needs_restart != needs_restart;
        state.problems.clear();
        state.needs_restart = needs_restart.to_vec();
        state.at = Some(now_ms());
        is_news
    }

    /// The file cannot be used. True when its problems are news.
    pub(super) fn bad(&self, problems: &[String]) -> bool {
        let mut state = self.lock();
        let is_news = state.problems != problems;
        state.problems = problems.to_vec();
        state.at = Some(now_ms());
        is_news
    }

    /// What is wrong with the file as it is now; the daemon runs on the one before.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.lock().problems.clone()
    }

    /// `hotReloadStatus` of `health`: whether a change of the file takes effect by itself.
    pub(crate) fn status(&self) -> &'static str {
        let state = self.lock();
        if state.is_watching && state.problems.is_empty() {
            "active"
        } else {
            "disabled"
        }
    }

    /// `config` of `health`; what the published `configReload` has no room for.
    pub(crate) fn report(&self) -> Value {
        let state = self.lock().clone();
        json!({
            "ok": state.problems.is_empty(),
            "at": state.at,
            "problems": state.problems,
            "needsRestart": state.needs_restart,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_mistake_is_news_once_and_its_end_is_news_too() {
        let board = Board::default();
        board.watching(true);
        let bad = ["clawline.json5:1:2: no".to_owned()];
        assert!(board.bad(&bad));
        assert!(!board.bad(&bad));
        assert_eq!(board.status(), "disabled");
        assert_eq!(board.report()["problems"], json!(bad));
        assert!(board.good(&[]));
        assert!(!board.good(&[]));
        assert_eq!(board.status(), "active");
        assert!(board.good(&["gateway.port".to_owned()]));
    }
}
