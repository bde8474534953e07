//! From the configuration to the settings about who can reach the port, and how.

use std::net::IpAddr;
use std::path::Path;

use clawline::config::gateway::{AuthMode, Bind, TailscaleMode as ConfigMode};
use clawline::config::{Config, Environment};

use super::Failure;
use crate::auth;
use crate::settings::{BindTo, TailscaleMode, TailscaleSettings, TlsSettings};

/// An address beyond every gateway of a network, from the range for documentation.
const SOMEWHERE: (&str, u16) = ("192.0.2.1", 9);

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

/// `gateway.tls.*`.
pub(super) fn tls(
    config: &Config,
    bind: BindTo,
    env: &Environment,
) -> Result<TlsSettings, Failure> {
    let tls = &config.gateway.tls;
    if !tls.enabled {
        return Ok(TlsSettings::Off);
    }
    Ok(match (&tls.cert_path, &tls.key_path) {
        (Some(certificate), Some(key)) => TlsSettings::Files {
            certificate: env.expand(certificate),
            key: env.expand(key),
        },
        _ if !tls.auto_generate => {
            return Err(Failure::usage(
                "gateway.tls.certPath: is missing, and gateway.tls.autoGenerate is false; set certPath and keyPath",
            ));
        }
        _ => TlsSettings::Own {
            names: names(config, bind),
        },
    })
}

/// `gateway.tailscale.*`.
pub(super) fn tailscale(config: &Config) -> TailscaleSettings {
    let gateway = &config.gateway;
    let mode = match gateway.tailscale.mode {
        ConfigMode::Off => TailscaleMode::Off,
        ConfigMode::Serve => TailscaleMode::Serve,
        ConfigMode::Funnel => TailscaleMode::Funnel,
    };
    let has_own_users = matches!(
        gateway.auth.mode,
        Some(AuthMode::Password | AuthMode::TrustedProxy)
    );
    TailscaleSettings {
        mode,
        allow_identity: gateway
            .auth
            .allow_tailscale
            .unwrap_or(mode == TailscaleMode::Serve && !has_own_users),
        ..TailscaleSettings::default()
    }
}

/// What the machine is called, for a certificate of our own.
pub(super) fn names(config: &Config, bind: BindTo) -> Vec<String> {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let without_port = |name: &String| match name.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() && !host.contains(':') => host.to_owned(),
        _ => name.trim_matches(['[', ']']).to_owned(),
    };
    let custom = match bind {
        BindTo::Custom(address) => Some(address),
        BindTo::Lan => lan_address(),
        BindTo::Loopback | BindTo::Tailnet => None,
    };
    [host]
        .into_iter()
        .chain(config.gateway.allowed_hosts.iter().map(without_port))
        .chain(custom.map(|address| address.to_string()))
        .collect()
}

/// The address from which this machine would reach others. Nothing is sent for it.
pub(super) fn lan_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect(SOMEWHERE).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
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
