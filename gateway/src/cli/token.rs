//! `token`: the shared token, for a client that cannot read the file; with `--qr` everything that a client
//! elsewhere needs, to be scanned or copied; and what makes a new one.

use clap::Args;
use clawline::config::gateway::AuthMode;
use clawline::secret::Secret;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::{Map, Value, json};

use super::address::{self, Address};
use super::setup_code::NewArgs;
use super::{Common, Exit, Failure, output};
use crate::auth;

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
    if !args.qr && !args.json {
        let fingerprint = address::fingerprint(&read)?;
        output::line(token.expose());
        if let Some(fingerprint) = fingerprint {
            output::note(&format!("TLS fingerprint {fingerprint}"));
        }
        return Ok(Exit::Good);
    }
    let address = Address::find(&read)?;
    let invitation = Invitation {
        url: address.url.clone(),
        token: is_asked_for.then_some(token),
        fingerprint: address.fingerprint.clone(),
    };
    if args.json {
        let mut all = invitation.members();
        all.insert("v".into(), json!(1));
        if !address.note.is_empty() {
            let note = address.note.trim_start_matches("note: ");
            all.insert("note".into(), json!(note));
        }
        output::line(&Value::Object(all).to_string());
    } else {
        address.tell_note();
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
