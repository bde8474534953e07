//! From the configuration to the settings about who can reach the port, and how.

use std::path::Path;

use clawline::config::Config;
use clawline::config::gateway::Bind;

use super::Failure;
use crate::auth;
use crate::settings::BindTo;

/// `gateway.bind` with `gateway.customBindHost`.
pub(super) fn bind_to(config: &Config) -> Result<BindTo, Failure> {
    let gateway = &config.gateway;
    Ok(match gateway.bind {
        Bind::Loopback | Bind::Auto => BindTo::Loopback,
        Bind::Lan => BindTo::Lan,
        Bind::Tailnet => BindTo::Tailnet,
        Bind::Custom => {
            let host = gateway.custom_bind_host.as_deref().unwrap_or_default();
            let address = host.parse().map_err(|_| {
                Failure::usage("gateway.customBindHost: must be an IP address of this machine")
            })?;
            BindTo::Custom(address)
        }
    })
}

/// The configuration with the token of the state directory, where nothing else was configured and one was
/// made earlier: it protects the port as well as a configured one.
pub(super) fn with_made_token(config: &Config, token_file: &Path) -> Config {
    let mut config = config.clone();
    let auth = &mut config.gateway.auth;
    if auth.token.is_none() && token_file.exists() {
        auth.token = auth::read(token_file).ok();
    }
    config
}
