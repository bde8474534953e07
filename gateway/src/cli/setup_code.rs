//! `token --setup` and `token --rotate`: a one-time code for one more device, and a new shared token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use clawline::config::gateway::AuthMode;
use clawline::owner_file;
use clawline::protocol::scope::{Role, Scope};
use serde_json::{Value, json};

use super::address::Address;
use super::options::Read;
use super::{Exit, Failure, daemon, output};
use crate::auth;
use crate::control::Request;
use crate::lock::{LockError, StateLock};
use crate::store::now_ms;

/// Options of `token` that make something new.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// Make a one-time code that lets one device in, instead of showing the token.
    #[arg(long, conflicts_with = "rotate")]
    setup: bool,
    /// What the code gives: read, write, approvals, pairing, ... Without it read and write.
    #[arg(long, requires = "setup", value_delimiter = ',', value_name = "SCOPES")]
    scopes: Vec<String>,
    /// The code gives everything, admin too.
    #[arg(long, requires = "setup", conflicts_with = "scopes")]
    admin: bool,
    /// The code is for a node.
    #[arg(long, requires = "setup", conflicts_with_all = ["scopes", "admin"])]
    node: bool,
    /// Make a new shared token: the old one is void at once, and its connections end.
    #[arg(long)]
    rotate: bool,
}

/// What is given when nothing was said: not admin.
const USUAL: [Scope; 2] = [Scope::Read, Scope::Write];
/// What `--admin` gives.
const EVERYTHING: [Scope; 5] = [
    Scope::Admin,
    Scope::Read,
    Scope::Write,
    Scope::Approvals,
    Scope::Pairing,
];

impl NewArgs {
    /// Does what was asked for; `None` when nothing was.
    pub(super) fn run(&self, read: &Read) -> Option<Result<Exit, Failure>> {
        if self.setup {
            Some(self.make_code(read))
        } else if self.rotate {
            Some(rotate(read))
        } else {
            None
        }
    }

    fn make_code(&self, read: &Read) -> Result<Exit, Failure> {
        let role = if self.node {
            Role::Node
        } else {
            Role::Operator
        };
        let scopes = self.scopes()?;
        let made = daemon::ask(
            read.paths().gateway_state_dir(),
            Request::SetupCode { role, scopes },
        )?;
        let Some(code) = made["code"].as_str() else {
            return Err(Failure::failed(
                "no gateway has run here yet; start it once with clawline-gateway run",
            ));
        };
        output::line(code);
        let expires_at_ms = made["expiresAtMs"].as_i64().unwrap_or_default();
        let left = (expires_at_ms - now_ms() + 59_999).max(0) / 60_000;
        output::note(&format!("good once, for one device, for {left} minutes"));
        let address = Address::find(read)?;
        let link = link(&address, code, expires_at_ms);
        output::note(&if self.node {
            format!(
                "on the machine that is to be the node: openclaw connect {link}\n\
                 clawline node run takes no code: through SSH it signs in by itself"
            )
        } else {
            format!(
                "in an app that takes OpenClaw's setup codes paste {link}\n\
                 another client of protocol 4 shows the code itself, as auth.bootstrapToken\n\
                 clawline takes no code: clawline USER@HOST signs in through SSH by itself"
            )
        });
        address.tell_note();
        Ok(Exit::Good)
    }

    fn scopes(&self) -> Result<Vec<String>, Failure> {
        let texts = |scopes: &[Scope]| scopes.iter().map(|s| s.as_str().to_owned()).collect();
        if self.node {
            return Ok(Vec::new());
        }
        if self.admin {
            return Ok(texts(&EVERYTHING));
        }
        if self.scopes.is_empty() {
            return Ok(texts(&USUAL));
        }
        self.scopes
            .iter()
            .map(|text| {
                let full = format!("operator.{}", text.trim().trim_start_matches("operator."));
                let scope = Scope::parse(&full).filter(|scope| *scope != Scope::Admin);
                scope.map(|scope| scope.as_str().to_owned()).ok_or_else(|| {
                    Failure::usage(format!(
                        "--scopes: \"{}\" cannot be given; use read, write, approvals or pairing, or --admin for everything",
                        clawline::layer::printable(text, 40)
                    ))
                })
            })
            .collect()
    }
}

/// The code with the address, as OpenClaw's clients read both from one text.
fn link(address: &Address, code: &str, expires_at_ms: i64) -> String {
    let mut all = json!({
        "url": address.url,
        "bootstrapToken": code,
        "expiresAtMs": expires_at_ms,
    });
    if let Some(fingerprint) = &address.fingerprint {
        all["tlsFingerprint"] = json!(fingerprint);
    }
    let packed = URL_SAFE_NO_PAD.encode(all.to_string());
    format!("oc-pair://{packed}")
}

fn rotate(read: &Read) -> Result<Exit, Failure> {
    let auth_config = &read.loaded.config.gateway.auth;
    if auth_config.token.is_some() {
        return Err(Failure::usage(format!(
            "the token comes from {}; change it there",
            read.loaded.source("gateway.auth.token")
        )));
    }
    if !matches!(auth_config.mode, None | Some(AuthMode::Token)) {
        return Err(Failure::usage(
            "there is no token: gateway.auth.mode is not \"token\"",
        ));
    }
    let state_dir = read.paths().gateway_state_dir();
    match StateLock::take(state_dir) {
        Ok(_lock) => {
            let path = read.paths().gateway_token();
            owner_file::replace(&path, &auth::fresh())
                .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
        }
        Err(LockError::Held { .. }) => {
            let done = daemon::ask(state_dir, Request::RotateToken)?;
            debug_assert_eq!(done, Value::Null);
        }
        Err(error) => return Err(Failure::failed(error)),
    }
    output::line(
        "the shared token is new; clawline-gateway token shows it, and paired devices keep theirs",
    );
    Ok(Exit::Good)
}
