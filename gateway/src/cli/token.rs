//! `token`: the shared token, for a client that cannot read the file; with `--qr` everything that a client
//! elsewhere needs, to be scanned or copied; and what makes a new one.

use std::net::IpAddr;

use clap::Args;
use clawline::config::gateway::{AuthMode, Bind};
use clawline::notice::GatewayNotice;
use clawline::secret::Secret;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::{Map, Value, json};

use super::options::Read;
use super::setup_code::NewArgs;
use super::{Common, Exit, Failure, daemon, output, reach};
use crate::auth;
use crate::settings::{BindTo, TlsSettings};
use crate::tls::{Tls, own};

/// Options of `token`.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    new: NewArgs,
    /// Also the URL and the TLS fingerprint, as a QR code and as text.
    #[arg(long)]
    qr: bool,
    /// URL, token and TLS fingerprint as JSON.
    #[arg(long)]
    json: bool,
}

/// What a client needs.
struct Invitation {
    url: String,
    token: Option<Secret>,
    fingerprint: Option<String>,
}

pub(super) fn run(common: &Common, args: &TokenArgs) -> Result<Exit, Failure> {
    let read = common.load(Vec::new())?;
    if let Some(done) = args.new.run(&read) {
        return done;
    }
    let config = &read.loaded.config;
    // Who signs in with a password types it; it is not for a screen.
    let is_asked_for = config.gateway.auth.mode != Some(AuthMode::Password);
    let token = match &config.gateway.auth.token {
        Some(token) => token.clone(),
        None => auth::read_or_create(&read.paths().gateway_token()).map_err(Failure::usage)?,
    };
    let fingerprint = fingerprint(&read)?;
    if !args.qr && !args.json {
        output::line(token.expose());
        if let Some(fingerprint) = fingerprint {
            output::note(&format!("TLS fingerprint {fingerprint}"));
        }
        return Ok(Exit::Good);
    }
    let invitation = Invitation {
        url: url(&read, fingerprint.is_some())?,
        token: is_asked_for.then_some(token),
        fingerprint,
    };
    if args.json {
        let mut all = invitation.members();
        all.insert("v".into(), json!(1));
        output::line(&Value::Object(all).to_string());
    } else {
        output::line(&invitation.picture()?);
        output::line(&invitation.text());
    }
    Ok(Exit::Good)
}

impl Invitation {
    fn members(&self) -> Map<String, Value> {
        let members = [
            ("url", Some(self.url.clone())),
            ("token", self.token.as_ref().map(|t| t.expose().to_owned())),
            ("tlsFingerprint", self.fingerprint.clone()),
        ];
        let members = members.into_iter();
        members
            .filter_map(|(name, text)| Some((name.to_owned(), Value::String(text?))))
            .collect()
    }

    fn picture(&self) -> Result<String, Failure> {
        let text = Value::Object(self.members()).to_string();
        let code = QrCode::with_error_correction_level(text, EcLevel::L)
            .map_err(|error| Failure::failed(format!("no QR code can be made: {error}")))?;
        // Light on dark, as most terminals are; scanners read either.
        let mut picture = code.render::<Dense1x2>();
        Ok(picture.quiet_zone(true).build())
    }

    fn text(&self) -> String {
        let mut lines = vec![format!("url          {}", self.url)];
        match &self.token {
            Some(token) => lines.push(format!("token        {}", token.expose())),
            None => lines.push("password      the one of gateway.auth.password".to_owned()),
        }
        if let Some(fingerprint) = &self.fingerprint {
            lines.push(format!("fingerprint  {fingerprint}"));
        }
        lines.join("\n")
    }
}

/// Of the certificate that the daemon shows, or would show: our own is made when there is none.
fn fingerprint(read: &Read) -> Result<Option<String>, Failure> {
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

/// How others reach the port, as far as this machine knows its own addresses.
fn url(read: &Read, has_tls: bool) -> Result<String, Failure> {
    let config = &read.loaded.config;
    let port = notice(read).map_or(config.gateway.port, |notice| notice.port);
    let host = match reach::bind_to(config)? {
        BindTo::Loopback => None,
        BindTo::Lan => reach::lan_address(),
        BindTo::Tailnet => None,
        BindTo::Custom(address) => Some(address).filter(|address| !address.is_unspecified()),
    };
    if host.is_none() && config.gateway.bind != Bind::Loopback {
        output::note("note: put an address of this machine into the URL that others reach");
    }
    let host = match host {
        None => "127.0.0.1".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("[{address}]"),
    };
    let scheme = if has_tls { "wss" } else { "ws" };
    Ok(format!("{scheme}://{host}:{port}"))
}

/// What the running daemon of this profile says of itself.
fn notice(read: &Read) -> Option<GatewayNotice> {
    let profile = read.loaded.profile.as_ref().map(|profile| profile.name());
    daemon::notice(read.paths(), profile)
}
