//! Where clients reach the gateway of this host, and by which certificate they know it.

use std::net::IpAddr;

use clawline::config::gateway::{Bind, TailscaleMode};
use clawline::notice::GatewayNotice;

use super::options::Read;
use super::{Failure, daemon, output, reach};
use crate::settings::{BindTo, TlsSettings};
use crate::tls::{Tls, own};

/// The address of the port.
pub(super) struct Address {
    /// `ws://` or `wss://`, host and port.
    pub(super) url: String,
    /// SHA-256 of the certificate, with its kind in front.
    pub(super) fingerprint: Option<String>,
    /// What a person has to know before the URL works elsewhere; empty when it does.
    pub(super) note: &'static str,
}

const HERE_ONLY: &str = "note: this address reaches the gateway from this machine only, because it listens on loopback; \
elsewhere use clawline USER@HOST, which goes through SSH, or ssh -N -L PORT:127.0.0.1:PORT USER@HOST, \
or let others in: gateway.bind \"lan\" with gateway.tls.enabled, or \"tailnet\"";
const BY_TAILSCALE: &str = "note: this address reaches the gateway from this machine only; \
others of the tailnet use wss://NAME.ts.net, the name that tailscale status shows for this machine";
const UNKNOWN: &str = "note: put an address of this machine into the URL that others reach";

impl Address {
    /// As far as this machine knows its own addresses.
    pub(super) fn find(read: &Read) -> Result<Self, Failure> {
        let fingerprint = fingerprint(read)?;
        let config = &read.loaded.config;
        let gateway = &config.gateway;
        let port = notice(read).map_or(gateway.port, |notice| notice.port);
        let bind = reach::bind_to(config)?;
        let host = match bind {
            BindTo::Loopback | BindTo::Tailnet => None,
            BindTo::Lan => reach::lan_address(),
            BindTo::Custom(address) => Some(address).filter(|address| !address.is_unspecified()),
        };
        let is_loopback = match host {
            Some(address) => address.is_loopback(),
            None => matches!(gateway.bind, Bind::Loopback | Bind::Auto),
        };
        let note = match (is_loopback, host) {
            (true, _) if gateway.tailscale.mode != TailscaleMode::Off => BY_TAILSCALE,
            (true, _) => HERE_ONLY,
            (false, None) => UNKNOWN,
            (false, Some(_)) => "",
        };
        let host = match host {
            None => "127.0.0.1".to_owned(),
            Some(IpAddr::V4(address)) => address.to_string(),
            Some(IpAddr::V6(address)) => format!("[{address}]"),
        };
        let scheme = if fingerprint.is_some() { "wss" } else { "ws" };
        Ok(Self {
            url: format!("{scheme}://{host}:{port}"),
            fingerprint,
            note,
        })
    }

    /// Tells the person who watches what the URL is not good for.
    pub(super) fn tell_note(&self) {
        if !self.note.is_empty() {
            output::note(self.note);
        }
    }
}

/// Of the certificate that the daemon shows, or would show: our own is made when there is none.
pub(super) fn fingerprint(read: &Read) -> Result<Option<String>, Failure> {
    let config = &read.loaded.config;
    let dir = read.paths().gateway_tls_dir();
    let settings = reach::tls(config, reach::bind_to(config)?, &read.env)?;
    let certificate = match &settings {
        TlsSettings::Off => {
            return Ok(notice(read)
                .and_then(|notice| notice.tls_fingerprint)
                .map(with_kind));
        }
        TlsSettings::Own { .. } => own::read(&dir).map_err(Failure::usage)?,
        TlsSettings::Files { .. } => None,
    };
    let fingerprint = match certificate {
        Some(certificate) => Some(certificate.fingerprint),
        None => {
            let tls = Tls::open(&settings, &dir).map_err(Failure::usage)?;
            tls.map(|tls| tls.fingerprint())
        }
    };
    Ok(fingerprint.map(|fingerprint| with_kind(fingerprint.to_string())))
}

fn with_kind(fingerprint: String) -> String {
    format!("sha256:{fingerprint}")
}

/// What the running daemon of this profile says of itself.
fn notice(read: &Read) -> Option<GatewayNotice> {
    let profile = read.loaded.profile.as_ref().map(|profile| profile.name());
    daemon::notice(read.paths(), profile)
}
