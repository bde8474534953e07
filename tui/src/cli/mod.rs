//! The command line: one subcommand a file, and the choice between them.

mod agent;
pub(crate) mod args;
mod ask;
mod completions;
mod config;
mod connect;
mod context;
#[cfg(feature = "demo")]
pub(crate) mod demo;
mod devices;
mod doctor;
mod explain;
mod failure;
mod gateway;
mod health;
pub(crate) mod help;
mod hosts;
mod install_tunnel;
mod logs;
mod mistyped;
mod node;
mod nodes;
mod open;
pub(crate) mod output;
mod process;
mod report;
mod sessions;
mod signals;
mod status;
mod tunnel;
mod tunnel_only;

use std::time::Duration;

use args::{Cli, Command};
use clawline::layer::{LayerRows, printable};
use context::Context;
use failure::{Failure, TERMINATED, USAGE};
use output::Output;

use crate::link::UsageError;

/// Carries out what was typed; returns the exit code.
pub(crate) async fn run(cli: Cli) -> u8 {
    // The app and the tunnel have something to do before they go.
    let has_own_way_out = match &cli.command {
        None => true,
        #[cfg(feature = "demo")]
        Some(Command::Demo(_)) => true,
        Some(Command::Node(args)) => args.goes_on(),
        Some(_) => false,
    };
    let (json, target) = (cli.general.json, named(&cli));
    let code = tokio::select! {
        biased;
        // First, since a command that has connected can say how far it came.
        code = choose(cli) => code,
        () = interrupted_for(LAST_WORDS), if !has_own_way_out => {
            refuse(&Output::new(json), &target, &Failure::Interrupted)
        }
        () = signals::terminated(), if !has_own_way_out => TERMINATED,
    };
    ask::give_terminal_back();
    code
}

/// How long a command that has connected may take to say how far it came, once Ctrl-C was pressed.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Ends this long after Ctrl-C.
async fn interrupted_for(grace: Duration) {
    // Where the signal cannot be had, the system's own way of ending remains.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(grace).await;
}

/// Says what is wrong with what was typed, in JSON where that was asked for, and returns the exit code.
/// Help and version are no mistakes and go to standard output.
pub(crate) fn wrong_usage(error: &clap::Error) -> u8 {
    let words = std::env::args_os().skip(1);
    let mut options = words.take_while(|option| option != "--");
    let json = error.use_stderr() && options.any(|option| option == "--json");
    if !json {
        let _ = error.print();
        // Behind a mistyped command its options are no options of the app.
        let first = std::env::args_os().nth(1);
        let first = first.and_then(|word| word.into_string().ok());
        let meant = first.as_deref().and_then(mistyped::command_like);
        if let (Some(word), Some(command)) = (first, meant)
            && error.use_stderr()
            && command != word
        {
            let out = Output::new(false);
            out.note(&format!("  next: did you mean clawline {command}?"));
        }
        return u8::try_from(error.exit_code()).unwrap_or(USAGE);
    }
    let text = error.render().to_string();
    let what = text.lines().next().unwrap_or_default();
    let what = printable(what.strip_prefix("error: ").unwrap_or(what), 400);
    let error = UsageError::new(what, "clawline --help");
    refuse(&Output::new(true), "", &error.into())
}

/// What was typed as the place of the gateway; empty for the default.
fn named(cli: &Cli) -> String {
    let bare = match &cli.command {
        Some(Command::Health(args)) => args.target.target.as_ref(),
        Some(Command::Status(args)) => args.target.target.as_ref(),
        Some(Command::Explain(args)) => args.target.as_ref(),
        Some(Command::Doctor(args)) => args.target.as_ref(),
        Some(Command::Tunnel(args)) => args.target(),
        Some(Command::InstallTunnel(args)) => args.target.target.as_ref(),
        _ => None,
    };
    let named = bare.or(cli.target.as_ref()).or(cli.connect.host.as_ref());
    printable(named.map_or("", String::as_str), 200)
}

async fn choose(mut cli: Cli) -> u8 {
    let out = Output::new(cli.general.json);
    let target = named(&cli);
    if let Some(Command::Completions(args)) = &cli.command {
        return completions::run(&out, args);
    }
    #[cfg(feature = "demo")]
    if let Some(Command::Demo(args)) = &cli.command {
        return match demo::run(&out, args, &cli.general).await {
            Ok(code) => code,
            Err(failure) => refuse(&out, &target, &failure),
        };
    }
    if let (Some(target), Some(_)) = (&cli.target, &cli.command) {
        let target = printable(target, 120);
        let error = UsageError::new(
            format!("the TARGET {target} stands before a subcommand"),
            "write it behind the subcommand, with -H",
        );
        return refuse(&out, &target, &error.into());
    }
    if cli.command.is_none() && cli.target.is_some() && cli.connect.host.is_some() {
        let error = UsageError::new(
            "TARGET and --host both say where the gateway is",
            "leave one of them out",
        );
        return refuse(&out, &target, &error.into());
    }
    let bare = cli.target.take();
    if bare.is_some() {
        cli.connect.host.clone_from(&bare);
    }
    let context = match Context::new(&cli.general, cli.connect, out) {
        Ok(context) => context,
        Err((failure, out)) => return refuse(&out, &target, &failure),
    };
    if let Some(bare) = bare
        && let Err(error) = mistyped::check(&context.connector, &bare)
    {
        return refuse(&context.out, &target, &error.into());
    }
    // The app shows them on its screen, and `config check` is about them.
    let shows_warnings = match &cli.command {
        Some(Command::Config(_)) => false,
        Some(_) => true,
        None => cli.app.tunnel_only,
    };
    for warning in context.loaded().warnings.iter().filter(|_| shows_warnings) {
        context.out.note(&format!("warning: {warning}"));
    }
    match &cli.command {
        Some(Command::Health(args)) => health::run(&context, args).await,
        Some(Command::Status(args)) => status::run(&context, args).await,
        Some(Command::Gateway(args)) => gateway::run(&context, args).await,
        Some(Command::Sessions(args)) => sessions::run(&context, args).await,
        Some(Command::Agent(args)) => agent::run(&context, args).await,
        Some(Command::Hosts(args)) => hosts::run(&context, args).await,
        Some(Command::Devices(args)) => devices::run(&context, args).await,
        Some(Command::Logs(args)) => logs::run(&context, args).await,
        Some(Command::Config(args)) => config::run(&context, args),
        Some(Command::Explain(args)) => explain::run(&context, args),
        Some(Command::Doctor(args)) => doctor::run(&context, args).await,
        Some(Command::Tunnel(args)) => tunnel::run(&context, args).await,
        Some(Command::InstallTunnel(args)) => {
            install_tunnel::run(&context, args, &cli.general).await
        }
        Some(Command::Nodes(args)) => nodes::run(&context, args).await,
        Some(Command::Node(args)) => node::run(&context, args).await,
        Some(Command::Completions(_)) => USAGE,
        None if cli.app.tunnel_only => tunnel_only::run(&context, &cli.app).await,
        None => match open::run(&context, cli.app, &cli.general).await {
            Ok(()) => 0,
            Err(failure) => refuse(&context.out, &target, &failure),
        },
        #[cfg(feature = "demo")]
        Some(Command::Demo(_)) => USAGE,
    }
}

/// Says why nothing was done.
fn refuse(out: &Output, target: &str, failure: &Failure) -> u8 {
    connect::fail_on(out, target, &LayerRows::default(), &[], failure)
}
