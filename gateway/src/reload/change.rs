//! From settings to settings: what of a new configuration comes into force at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use clawline::secret::Secret;
use serde_json::Value;

use crate::auth::{self, Throttle};
use crate::settings::{AuthMode, GatewaySettings, TailscaleMode};
use crate::start_check;
use crate::start_error::StartError;
use crate::state::App;

/// Keys that come into force while the daemon runs. Every other key of the daemon needs a restart.
const LIVE: [&str; 13] = [
    "gateway.auth.mode",
    "gateway.auth.token",
    "gateway.auth.password",
    "gateway.auth.rateLimit",
    "gateway.allowedHosts",
    "gateway.controlUi.allowedOrigins",
    "gateway.trustedProxies",
    "gateway.nodes",
    "gateway.reload",
    "compat.payloadV1",
    "models",
    "agents",
    "logging.level",
];
/// Keys that are not the daemon's.
const OTHERS: [&str; 5] = [
    "hosts",
    "ui",
    "tunnel",
    "gateway.remote",
    "compat.insecureWs",
];

/// What a new configuration changed.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Keys that are in force now.
    pub(super) changed: Vec<String>,
    /// Keys that are not.
    pub(super) needs_restart: Vec<String>,
}

impl Change {
    pub(super) fn is_nothing(&self) -> bool {
        self.changed.is_empty() && self.needs_restart.is_empty()
    }
}

/// Puts into force what can be. With problems nothing changes.
pub(super) fn apply(app: &App, new: GatewaySettings) -> Result<Change, Vec<String>> {
    let _turn = app.live.turn();
    let old = app.settings();
    let mut change = Change {
        changed: differences(&old.config.effective, &new.config.effective, true),
        needs_restart: differences(app.live.started_with(), &new.config.effective, false),
    };
    if app.policy.weak_secret {
        start_check::check_auth(&new).map_err(|error| vec![error.to_string()])?;
    }
    let authority = app.authority();
    // What is published to the internet asks for a password, as at the start.
    let may_be = old.tailscale.mode != TailscaleMode::Funnel || new.auth.mode == AuthMode::Password;
    let (mode, secret) = if may_be && is_live_mode(old.auth.mode, new.auth.mode) {
        (
            new.auth.mode,
            secret(&new).map_err(|error| vec![error.to_string()])?,
        )
    } else {
        // Who may come in without a secret was checked against the addresses of the start.
        change.move_to_restart("gateway.auth.mode");
        for key in ["gateway.auth.token", "gateway.auth.password"] {
            if change.changed.iter().any(|known| known == key) {
                change.move_to_restart(key);
            }
        }
        (old.auth.mode, authority.secret.clone())
    };
    let is_live = mode == new.auth.mode;
    let is_new_secret = secret != authority.secret || mode != authority.mode;
    if change.changed.is_empty() && !is_new_secret {
        return Ok(change);
    }
    let models = app.runs.models();
    if new.models != old.models || new.agents != old.agents {
        models
            .replace(&new.models, &new.agents)
            .map_err(|problems| {
                problems
                    .iter()
                    .map(|p| format!("{}: {}", p.key, p.text))
                    .collect::<Vec<_>>()
            })?;
        app.sessions.set_default_agent(models.default_agent());
    }

    // Everything that is not named here stays as it was at the start.
    let mut settings = (*old).clone();
    settings.auth.mode = mode;
    if is_live {
        settings.auth.token = new.auth.token;
        settings.auth.password = new.auth.password;
    }
    settings.nodes = new.nodes;
    settings.rate_limit = new.rate_limit;
    settings.allowed_hosts = new.allowed_hosts;
    settings.allowed_origins = new.allowed_origins;
    settings.trusted_proxies = new.trusted_proxies;
    settings.payload_v1 = new.payload_v1;
    settings.models = new.models;
    settings.agents = new.agents;
    settings.reload = new.reload;
    settings.log.level = new.log.level;
    settings.config = new.config;

    let before = authority.tag();
    let mut authority = (*authority).clone();
    authority.mode = mode;
    authority.secret = secret;
    let is_taken_off = |old| !settings.trusted_proxies.contains(old);
    if authority.trusted_proxies.iter().any(is_taken_off) {
        authority.proxies_taken_off += 1;
    }
    authority
        .trusted_proxies
        .clone_from(&settings.trusted_proxies);
    authority.payload_v1 = settings.payload_v1;
    if settings.rate_limit != old.rate_limit {
        authority.throttle = Arc::new(Throttle::new(settings.rate_limit));
    }
    let tag = authority.tag();
    app.live.replace(settings, authority);
    if is_new_secret {
        change.add("gateway.auth");
    }
    // Where the word of proxies counts and one was taken off the list, who came in by it goes, too.
    if tag != before && app.policy.close_voided {
        app.registry.kick_shared(tag);
    }
    Ok(change)
}

/// A mode without secrets depends on where the daemon listens, which does not change.
fn is_live_mode(old: AuthMode, new: AuthMode) -> bool {
    let has_secret = |mode| matches!(mode, AuthMode::Token | AuthMode::Password);
    old == new || (has_secret(old) && has_secret(new))
}

/// The secret as it is now. Unlike at the start, a token file that is gone is not made anew.
fn secret(settings: &GatewaySettings) -> Result<Secret, StartError> {
    let auth = &settings.auth;
    match auth.mode {
        AuthMode::Token if auth.token.as_ref().is_none_or(Secret::is_blank) => {
            Ok(auth::read(&settings.token_file())?)
        }
        _ => start_check::shared_secret(settings),
    }
}

impl Change {
    fn add(&mut self, key: &str) {
        if !self.changed.iter().any(|known| known.starts_with(key)) {
            self.changed.push(key.to_owned());
        }
    }

    fn move_to_restart(&mut self, key: &str) {
        self.changed.retain(|known| known != key);
        self.needs_restart.push(key.to_owned());
    }
}

/// The keys whose values differ and that come into force at once, or that do not.
fn differences(old: &Value, new: &Value, live: bool) -> Vec<String> {
    let (old, new) = (flat(old), flat(new));
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key) && !is_below(key, &OTHERS))
        .filter(|key| is_below(key, &LIVE) == live)
        .cloned()
        .collect()
}

fn is_below(key: &str, places: &[&str]) -> bool {
    places.iter().any(|place| {
        key.strip_prefix(place)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

/// Each value under its key path.
fn flat(tree: &Value) -> BTreeMap<String, Value> {
    fn walk(at: &Value, path: &str, out: &mut BTreeMap<String, Value>) {
        match at {
            Value::Object(members) => {
                for (name, member) in members {
                    let below = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    walk(member, &below, out);
                }
            }
            value => {
                out.insert(path.to_owned(), value.clone());
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(tree, "", &mut out);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_known_to_change_live_needs_a_restart_and_others_keys_are_nobodys_business() {
        let old = json!({
            "gateway": {"port": 1, "allowedHosts": ["a"], "auth": {"rateLimit": {"maxAttempts": 1}}},
            "ui": {"color": "auto"},
        });
        let new = json!({
            "gateway": {"port": 2, "allowedHosts": ["b"], "auth": {"rateLimit": {"maxAttempts": 2}}},
            "ui": {"color": "never"},
            "modelsX": 1,
        });
        assert_eq!(
            differences(&old, &new, true),
            ["gateway.allowedHosts", "gateway.auth.rateLimit.maxAttempts"]
        );
        assert_eq!(differences(&old, &new, false), ["gateway.port", "modelsX"]);
        assert!(differences(&old, &old, false).is_empty());
    }

    #[test]
    fn a_mode_without_secrets_never_comes_into_force_by_itself() {
        assert!(is_live_mode(AuthMode::Token, AuthMode::Password));
        assert!(!is_live_mode(AuthMode::Token, AuthMode::None));
        assert!(!is_live_mode(AuthMode::None, AuthMode::Token));
    }
}
