//! What a start refuses for the settings alone, before anything is opened: also asked before a
//! configuration is written or comes into force, so that nobody finds out at the next start.

use clawline::secret::Secret;

use crate::auth;
use crate::runs::Models;
use crate::server;
use crate::settings::{AuthMode, BindTo, GatewaySettings, TailscaleMode};
use crate::start_error::StartError;
use crate::tls::Tls;

/// What a start with these settings would refuse before it opens a port, without making anything. It
/// reads files.
///
/// # Errors
/// As [`Gateway::bind`] would give.
pub(crate) fn check_start(settings: &GatewaySettings) -> Result<(), StartError> {
    check_publishing(settings)?;
    Models::new(&settings.models, &settings.agents).map_err(StartError::Config)?;
    check_auth(settings)?;
    let file = settings.token_file();
    let is_to_be_made =
        settings.auth.mode == AuthMode::Token && settings.auth.token.is_none() && !file.exists();
    if !is_to_be_made {
        check_reach(settings, &shared_secret(settings)?)?;
    }
    Tls::check(&settings.tls, &settings.tls_dir())?;
    if let BindTo::Custom(address) = settings.bind {
        server::check_ours(address)?;
    }
    Ok(())
}

/// Without a secret, only this machine may connect.
pub(crate) fn check_reach(settings: &GatewaySettings, secret: &Secret) -> Result<(), StartError> {
    if secret.is_blank() && !settings.bind.is_loopback() {
        return Err(StartError::OpenToAll);
    }
    Ok(())
}

/// What makes the configured sign-in worthless, found before anything is bound.
pub(crate) fn check_auth(settings: &GatewaySettings) -> Result<(), StartError> {
    let auth = &settings.auth;
    let proxy = auth.trusted_proxy.secret.as_ref().map(|(_, secret)| secret);
    let secrets = [
        ("gateway.auth.token", auth.token.as_ref()),
        ("gateway.auth.password", auth.password.as_ref()),
        ("gateway.auth.trustedProxy.secret", proxy),
    ];
    for (at, (key, secret)) in secrets.iter().enumerate() {
        let Some(secret) = secret else { continue };
        auth::check_secret(secret).map_err(|why| StartError::WeakSecret { key, why })?;
        if auth::is_short(secret) {
            tracing::warn!(
                key,
                "the secret is short; 24 characters or more are not guessed"
            );
        }
        let same = |(_, other): &&(&str, Option<&Secret>)| other.is_some_and(|o| o == *secret);
        if let Some((other, _)) = secrets[..at].iter().find(same) {
            return Err(StartError::SameSecret(other, key));
        }
    }
    if auth.mode == AuthMode::TrustedProxy {
        let complaint = if auth.token.is_some() || auth.password.is_some() {
            Some(
                "there is a token or a password, too; remove it: the proxy alone decides who comes in",
            )
        } else if settings.trusted_proxies.is_empty() {
            Some("gateway.trustedProxies is empty; name the proxy's address")
        } else if auth.trusted_proxy.user_header.is_empty() {
            Some("gateway.auth.trustedProxy.userHeader is missing")
        } else {
            None
        };
        if let Some(complaint) = complaint {
            return Err(StartError::TrustedProxy(complaint));
        }
    }
    Ok(())
}

/// Refuses what would be published without protection.
pub(crate) fn check_publishing(settings: &GatewaySettings) -> Result<(), StartError> {
    let mode = settings.tailscale.mode;
    if mode == TailscaleMode::Off {
        return Ok(());
    }
    if settings.bind != BindTo::Loopback {
        return Err(StartError::PublishedBeyondLoopback {
            mode: mode.as_str(),
        });
    }
    match settings.auth.mode {
        AuthMode::None => Err(StartError::PublishedToAll),
        AuthMode::Password => Ok(()),
        _ if mode == TailscaleMode::Funnel => Err(StartError::FunnelWithoutPassword),
        _ => Ok(()),
    }
}

/// The secret that the settings ask for; a token file that is not there is made.
pub(crate) fn shared_secret(settings: &GatewaySettings) -> Result<Secret, StartError> {
    let auth = &settings.auth;
    match auth.mode {
        AuthMode::None | AuthMode::TrustedProxy => Ok(Secret::default()),
        AuthMode::Password => auth.password.clone().ok_or(StartError::NoPassword),
        AuthMode::Token => match &auth.token {
            Some(token) => Ok(token.clone()),
            None => Ok(auth::read_or_create(&settings.token_file())?),
        },
    }
}
