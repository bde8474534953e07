//! `tls`: the certificate that clients pin. One of our own making is never replaced by itself.

use std::path::Path;

use clap::Subcommand;

use super::{Common, Exit, Failure, output, reach};
use crate::settings::TlsSettings;
use crate::tls::{Certificate, Tls, own};

/// Subcommands of `tls`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum TlsCommand {
    /// Print the fingerprint that clients pin, and until when the certificate holds.
    Show,
    /// Make another certificate. Every client that pins the old one has to be told the new fingerprint.
    Renew,
}

pub(super) fn run(common: &Common, command: TlsCommand) -> Result<Exit, Failure> {
    let read = common.load(Vec::new())?;
    let dir = read.paths().gateway_tls_dir();
    let config = &read.loaded.config;
    let settings = reach::tls(config, reach::bind_to(config)?, &read.env)?;
    if let TlsSettings::Files { certificate, .. } = &settings {
        return of_the_user(command, &settings, &dir, certificate);
    }
    if matches!(command, TlsCommand::Renew) {
        let names = reach::names(config, reach::bind_to(config)?);
        own::renew(&dir, &names).map_err(Failure::failed)?;
        output::note("a running gateway shows it within seconds; give clients the new fingerprint");
    }
    let Some(certificate) = own::read(&dir).map_err(Failure::usage)? else {
        return Err(Failure::failed(
            "there is no certificate yet; clawline-gateway run --tls makes one",
        ));
    };
    show(&certificate);
    Ok(Exit::Good)
}

/// The certificate that `gateway.tls.certPath` names: it is theirs to replace.
fn of_the_user(
    command: TlsCommand,
    settings: &TlsSettings,
    dir: &Path,
    path: &Path,
) -> Result<Exit, Failure> {
    let shown = path.display();
    if matches!(command, TlsCommand::Renew) {
        return Err(Failure::usage(format!(
            "{shown} (gateway.tls.certPath) is yours: put a new one in its place, and a running gateway shows it within seconds"
        )));
    }
    if let Some(tls) = Tls::open(settings, dir).map_err(Failure::usage)? {
        show(&tls.certificate());
        output::note(&format!("from {shown}"));
    }
    Ok(Exit::Good)
}

fn show(certificate: &Certificate) {
    output::line(&format!("sha256:{}", certificate.fingerprint));
    output::note(&format!("holds until {}", certificate.expires_on));
}
