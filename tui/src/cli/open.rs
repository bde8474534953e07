//! No subcommand: the full-screen app.

use super::args::AppArgs;
use super::context::Context;
use super::failure::Failure;
use crate::app;
use crate::start::AppStart;

/// Opens the app; returns when the person leaves.
///
/// # Errors
/// When the target cannot be used, or there is no terminal.
pub(super) async fn run(context: &Context, args: AppArgs) -> Result<(), Failure> {
    let start = start(context, args)?;
    app::run(start).await.map_err(|error| match error {
        app::AppError::NoTerminal => {
            Failure::Usage(crate::link::UsageError::new(error.to_string(), ""))
        }
        app::AppError::Terminal(_) | app::AppError::Identity(_) => {
            Failure::Other(error.to_string())
        }
    })
}

/// What the app starts with. Without a target it is the configured one, else the first-run screen asks.
fn start(context: &Context, args: AppArgs) -> Result<AppStart, Failure> {
    let connector = context.connector.clone();
    let is_named = context.host.is_some() || connector.options.url.is_some();
    let link = if is_named {
        Some(connector.request(context.host.as_deref())?)
    } else {
        connector.configured()?
    };
    let from_config = link.as_ref().and_then(|request| request.session.clone());
    Ok(AppStart {
        session: args.session.or(from_config),
        link,
        connector,
        agent: args.agent,
        message: args.message,
        ui: context.loaded().config.ui.clone(),
        notes: context
            .loaded()
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect(),
    })
}
