//! `token`: the shared token, for a client that cannot read the file.

use super::{Common, Exit, Failure, output};
use crate::auth;

pub(super) fn run(common: &Common) -> Result<Exit, Failure> {
    let read = common.load(Vec::new())?;
    let token = match &read.loaded.config.gateway.auth.token {
        Some(token) => token.clone(),
        None => auth::read_or_create(&read.paths().gateway_token()).map_err(Failure::usage)?,
    };
    output::line(token.expose());
    Ok(Exit::Good)
}
