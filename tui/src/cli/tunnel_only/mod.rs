//! `clawline --tunnel-only`: holds local ends open for other programs, and says on one line each how the
//! tunnel stands. It ends by itself only when a person is needed.

mod ends;
mod hold;
mod lines;
mod look;

use clawline::tunnel::{BULK_CONNECTIONS, BULK_WINDOW, TunnelOptions};

use super::args::AppArgs;
use super::ask::Asking;
use super::connect::{fail, fail_early, print_note};
use super::context::Context;
use super::failure::INTERRUPTED;
use super::signals::terminated;
use crate::link::UsageError;

pub(crate) async fn run(context: &Context, app: &AppArgs) -> u8 {
    let request = match context.connector.request(context.host.as_deref()) {
        Ok(request) => request,
        Err(error) => return fail_early(context, context.host.as_deref(), error.into()),
    };
    let ends = match ends::bind(context, app, &request) {
        Ok(ends) => ends,
        Err(failure) => return fail_early(context, Some(&request.label), failure),
    };
    let asking = Asking::start();
    let options = TunnelOptions {
        window: BULK_WINDOW,
        bulk_connections: BULK_CONNECTIONS,
        ..TunnelOptions::default()
    };
    let Some(far) = request.tunnel_alone(asking.prompter(), options) else {
        let error = UsageError::new(
            format!(
                "--tunnel-only holds a way over SSH, and {} is reached directly",
                request.label
            ),
            "give it [USER@]HOST",
        );
        return fail_early(context, Some(&request.label), error.into());
    };
    for note in &request.notes {
        print_note(context, note);
    }
    let code = tokio::select! {
        failure = hold::hold(context, &request, &far, &ends) => {
            let rows = far.tunnel().view().borrow().rows.clone();
            fail(context, &request.label, &rows, &[], &failure)
        }
        () = asking.interrupted() => INTERRUPTED,
        () = terminated() => 0,
    };
    lines::say(context, &request.label, "stopped", &[]);
    far.tunnel().stop().await;
    code
}
