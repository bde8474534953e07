//! `tls`: the certificate of our own making. It is never replaced by itself: clients pin it.

use clap::Subcommand;

use super::{Common, Exit, Failure, output, reach};
use crate::tls::own;

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
    if matches!(command, TlsCommand::Renew) {
        let config = &read.loaded.config;
        let names = reach::names(config, reach::bind_to(config)?);
        own::renew(&dir, &names).map_err(Failure::failed)?;
        output::note("a running gateway shows it within seconds; give clients the new fingerprint");
    }
    let Some(certificate) = own::read(&dir).map_err(Failure::usage)? else {
        return Err(Failure::failed(
            "there is no certificate yet; clawline-gateway run --tls makes one",
        ));
    };
    output::line(&format!("sha256:{}", certificate.fingerprint));
    output::note(&format!("holds until {}", certificate.expires_on));
    Ok(Exit::Good)
}
