//! No subcommand: the full-screen app.

use super::args::{AppArgs, GeneralArgs};
use super::context::{Context, fold_ui};
use super::failure::Failure;
use crate::app;
use crate::start::AppStart;

/// Opens the app; returns when the person leaves.
///
/// # Errors
/// When the target cannot be used, or there is no terminal.
pub(super) async fn run(
    context: &Context,
    args: AppArgs,
    general: &GeneralArgs,
) -> Result<(), Failure> {
    let start = start(context, args, general)?;
    let usual = context.loaded().paths.log_file();
    let log = general.log_file.as_deref().unwrap_or(&usual);
    crate::logging::to_file(log, general.verbose);
    app::run(start).await.map_err(app_failure)
}

/// Why the app could not go on, as a failure of the command.
pub(super) fn app_failure(error: app::AppError) -> Failure {
    match error {
        app::AppError::NoTerminal => {
            Failure::Usage(crate::link::UsageError::new(error.to_string(), ""))
        }
        app::AppError::Terminal(_) | app::AppError::Identity(_) => {
            Failure::Other(error.to_string())
        }
    }
}

/// What the app starts with. Without a target it is the configured one, else the first-run screen asks.
fn start(context: &Context, args: AppArgs, general: &GeneralArgs) -> Result<AppStart, Failure> {
    let connector = context.connector.clone();
    let is_named = context.host.is_some() || connector.options.url.is_some();
    let configured = match is_named {
        true => None,
        false => connector.configured()?,
    };
    let link = match configured {
        Some(request) => Some(request),
        // Options without a target mean a target that was forgotten.
        None if is_named || connector.options.is_any_typed() => {
            Some(connector.request(context.host.as_deref())?)
        }
        None => None,
    };
    let mut ui = context.loaded().config.ui.clone();
    fold_ui(&mut ui, general);
    let from_config = link.as_ref().and_then(|request| request.session.clone());
    Ok(AppStart {
        session: args.session.or(from_config),
        link,
        connector,
        agent: args.agent,
        message: args.message,
        ui,
        notes: context
            .loaded()
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect(),
    })
}
