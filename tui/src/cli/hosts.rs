//! `clawline hosts`: which server keys are known, and changing that on purpose.

use std::path::PathBuf;

use clap::Subcommand;
use clawline::layer::{Layer, LayerError, Retry, printable};
use clawline::tunnel::connection::{Shown, host_key_of};
use clawline::tunnel::host_key::{
    Edit, HostName, KnownHosts, Recorded, Verdict, algorithm_word, edit, fingerprint, randomart,
    refusal,
};
use clawline::tunnel::prompt::{Answer, Prompt};
use clawline::tunnel::spec::{HopSpec, TunnelSpec};
use serde_json::{Value, json};

use super::ask::Asking;
use super::connect::fail_early;
use super::context::Context;
use super::failure::Failure;
use crate::link::UsageError;

/// Arguments of `hosts`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<HostsCommand>,
}

#[derive(Debug, Subcommand)]
enum HostsCommand {
    /// The hosts of clawline.json5, or TARGETs, and the keys that are known for them (this is what
    /// `hosts` alone does)
    List {
        /// [USER@]HOST[:PORT], an alias of ssh_config, or a host of clawline.json5
        #[arg(value_name = "TARGET")]
        targets: Vec<String>,
    },
    /// Learn the key of a host before it is used
    Add(KeyArgs),
    /// Forget the keys of a host; lines with @revoked and @cert-authority stay
    Remove {
        /// The host, as it is typed or as known_hosts has it
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Put the key that a host shows now in the place of the one that is known; the file of before stays
    /// as known_hosts.old
    Trust(KeyArgs),
}

#[derive(Debug, clap::Args)]
struct KeyArgs {
    /// [USER@]HOST[:PORT], an alias of ssh_config, or a host of clawline.json5
    #[arg(value_name = "TARGET")]
    target: String,
    /// The fingerprint that the key must have; without it somebody is asked
    #[arg(long, value_name = "SHA256:...")]
    fingerprint: Option<String>,
}

pub(crate) async fn run(context: &Context, args: &Args) -> u8 {
    let (target, result) = match &args.command {
        None => (None, list(context, &[])),
        Some(HostsCommand::List { targets }) => (None, list(context, targets)),
        Some(HostsCommand::Remove { name }) => (Some(name), remove(context, name)),
        Some(HostsCommand::Add(args)) => (Some(&args.target), learn(context, args, false).await),
        Some(HostsCommand::Trust(args)) => (Some(&args.target), learn(context, args, true).await),
    };
    match result {
        Ok(()) => 0,
        Err(failure) => fail_early(context, target.map(String::as_str), failure),
    }
}

/// The way to a target, by ssh_config and our own.
fn spec_of(context: &Context, target: &str) -> Result<TunnelSpec, UsageError> {
    let (parsed, host) = context.connector.ssh_target(target)?;
    Ok(context.connector.resolve(&parsed, &host)?.spec)
}

fn load(hop: &HopSpec) -> Result<KnownHosts, LayerError> {
    KnownHosts::load(&hop.known_hosts).map_err(|error| error.refusal())
}

fn list(context: &Context, typed: &[String]) -> Result<(), Failure> {
    let config = &context.loaded().config;
    let targets: Vec<String> = match (typed, &context.host) {
        ([], Some(host)) => vec![host.clone()],
        ([], None) => config.hosts.keys().cloned().collect(),
        (typed, _) => typed.to_vec(),
    };
    let mut rows = Vec::new();
    for target in &targets {
        let spec = spec_of(context, target)?;
        for hop in &spec.hops {
            let name = HostName::of_hop(hop);
            let recorded = load(hop)?.about(&name);
            if !context.out.json {
                say_host(context, target, &name, &recorded);
            }
            rows.push(json!({
                "target": target,
                "name": name.as_str(),
                "user": hop.user,
                "host": hop.host,
                "port": hop.port,
                "keys": recorded.iter().map(recorded_json).collect::<Vec<_>>(),
            }));
        }
    }
    if context.out.json {
        context
            .out
            .value(&json!({ "v": 1, "ok": true, "hosts": rows }));
    } else if targets.is_empty() {
        context.out.note(
            "no hosts in clawline.json5; `clawline hosts list TARGET` shows what is known of one",
        );
    }
    Ok(())
}

fn say_host(context: &Context, target: &str, name: &HostName, recorded: &[Recorded]) {
    let target = printable(target, 120);
    let name = printable(name.as_str(), 200);
    let heading = if name == target {
        target
    } else {
        format!("{target}  ({name})")
    };
    context.out.line(&heading);
    if recorded.is_empty() {
        context.out.line("  no key is known");
    }
    for line in recorded {
        let key = match &line.key {
            Ok(key) => format!("{} {}", key.algorithm, key.fingerprint),
            Err(why) => format!("cannot be read: {why}"),
        };
        let marker = match line.marker {
            "" => String::new(),
            marker => format!("{marker} "),
        };
        let key = printable(&key, 200);
        let place = format!("{}:{}", line.file.display(), line.line);
        context
            .out
            .line(&format!("  {marker}{key}  {}", printable(&place, 400)));
    }
}

fn recorded_json(line: &Recorded) -> Value {
    let key = line.key.as_ref();
    json!({
        "marker": line.marker,
        "hosts": line.hosts,
        "algorithm": key.ok().map(|key| key.algorithm.as_str()),
        "fingerprint": key.ok().map(|key| key.fingerprint.as_str()),
        "broken": key.err(),
        "file": line.file,
        "line": line.line,
    })
}

/// `NAME` as known_hosts writes it, in the way in which targets are written.
fn as_target(name: &str) -> String {
    let parts = name
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]:"));
    match parts {
        Some((host, port)) if !host.contains(':') => format!("{host}:{port}"),
        _ => name.to_owned(),
    }
}

fn remove(context: &Context, typed: &str) -> Result<(), Failure> {
    let spec = spec_of(context, &as_target(typed))?;
    let Some(hop) = spec.destination() else {
        return Err(UsageError::new("NAME names no host", "clawline hosts list").into());
    };
    let name = HostName::of_hop(hop);
    let mut removed = Vec::new();
    let all = |_: usize, _: Option<&str>| true;
    for file in &hop.known_hosts.user {
        let asked = Edit {
            keep_old: true,
            ..Edit::of(&name, &all)
        };
        let lines = edit(file, &asked).map_err(|error| cannot(error.to_string(), ""))?;
        removed.extend(lines.into_iter().map(|line| (file.clone(), line)));
    }
    let left: Vec<Recorded> = load(hop)?.about(&name);
    if context.out.json {
        let left: Vec<Value> = left.iter().map(recorded_json).collect();
        context.out.value(&json!({
            "v": 1, "ok": true, "target": typed, "name": name.as_str(),
            "removed": places_json(&removed), "left": left,
        }));
        return Ok(());
    }
    let shown = printable(name.as_str(), 200);
    if removed.is_empty() {
        context
            .out
            .line(&format!("no line of {shown} was there to remove"));
    }
    for (file, line) in &removed {
        context.out.line(&format!(
            "removed {shown} from line {line} of {}",
            file.display()
        ));
    }
    for line in &left {
        context.out.line(&format!(
            "left: {} {} ({}:{})",
            line.marker,
            printable(&line.hosts, 120),
            line.file.display(),
            line.line
        ));
    }
    Ok(())
}

/// `add` and, with `replace`, `trust`.
async fn learn(context: &Context, args: &KeyArgs, replace: bool) -> Result<(), Failure> {
    let spec = spec_of(context, &args.target)?;
    let asking = Asking::start();
    let shown = tokio::select! {
        shown = host_key_of(&spec, asking.prompter()) => shown?,
        () = asking.interrupted() => return Err(Failure::Interrupted),
    };
    let offered = fingerprint(&shown.key);
    if let Some(wanted) = &args.fingerprint
        && *wanted != offered
    {
        let what = format!(
            "{} shows {} {offered}, not {}",
            shown.name,
            algorithm_word(&shown.key),
            printable(wanted, 120)
        );
        return Err(refused(what, "ask who runs it which key is right"));
    }
    let old = match &shown.verdict {
        Verdict::Known { file, line } | Verdict::Certified { file, line, .. } => {
            let place = format!("{}:{line}", file.display());
            say(context, &args.target, "known", &shown, &[], &[]);
            context.out.note(&format!("it is known already ({place})"));
            return Ok(());
        }
        Verdict::Unknown { .. } => Vec::new(),
        Verdict::Changed { .. } | Verdict::OtherAlgorithm { .. } | Verdict::Unreadable { .. }
            if replace =>
        {
            in_the_way(&shown)?
        }
        refused => {
            return Err(refusal(refused, &shown.name, &args.target, &shown.key).into());
        }
    };
    let is_agreed = args.fingerprint.is_some()
        || (old.is_empty() && context.connector.options.ssh.accept_new_host_key)
        || agreed(&asking, &shown, &old).await;
    // Who was asked has read it.
    let is_asked = args.fingerprint.is_none() && asking.prompter().is_interactive();
    if let Some(note) = shown.name.note().filter(|_| !is_asked) {
        context.out.note(&note);
    }
    if !is_agreed {
        let verb = if replace { "trust" } else { "add" };
        let target = printable(&args.target, 120);
        return Err(refused(
            format!("the host key of {} was not trusted ({offered})", shown.name),
            &format!(
                "compare it with who runs the host, then `clawline hosts {verb} {target} --fingerprint {offered}`"
            ),
        ));
    }
    let removed = store(&shown, &old)?;
    let action = if old.is_empty() { "added" } else { "replaced" };
    say(context, &args.target, action, &shown, &old, &removed);
    Ok(())
}

/// The lines that keep the key from being known; only those of the user's own files can be changed.
fn in_the_way(shown: &Shown) -> Result<Vec<Recorded>, Failure> {
    let known = KnownHosts::load(&shown.files).map_err(|error| error.refusal())?;
    let kind = shown.key.algorithm();
    let mut lines = known.about(&shown.name);
    lines.retain(|line| {
        line.marker.is_empty()
            && match (&shown.verdict, &line.key) {
                (Verdict::Changed { .. }, Ok(key)) => key.algorithm == kind.as_str(),
                (Verdict::OtherAlgorithm { .. }, Ok(_)) => true,
                (_, key) => key.is_err(),
            }
    });
    match lines
        .iter()
        .find(|line| !shown.files.user.contains(&line.file))
    {
        None => Ok(lines),
        Some(line) => Err(refused(
            format!(
                "the key of {} is known in {}:{}, which is not yours to change",
                shown.name,
                line.file.display(),
                line.line
            ),
            "ask who administers this machine",
        )),
    }
}

/// Shows both keys and asks for a typed yes; `false` where nobody can be asked.
async fn agreed(asking: &Asking, shown: &Shown, old: &[Recorded]) -> bool {
    let prompter = asking.prompter();
    if !prompter.is_interactive() {
        return false;
    }
    let mut text = format!(
        "{} at {} shows {} {}\n{}\n",
        printable(shown.name.as_str(), 200),
        printable(&shown.address, 80),
        algorithm_word(&shown.key),
        fingerprint(&shown.key),
        randomart(&shown.key)
    );
    if let Verdict::Unknown { note: Some(note) } = &shown.verdict {
        text.push_str(&format!("{}\n", printable(note, 400)));
    }
    for line in old {
        let key = match &line.key {
            Ok(key) => format!("{} {}", key.algorithm, key.fingerprint),
            Err(why) => why.clone(),
        };
        text.push_str(&format!(
            "known until now: {}  {}:{}\n",
            printable(&key, 200),
            line.file.display(),
            line.line
        ));
    }
    super::output::ask(&text);
    let prompt = Prompt::KeyboardInteractive {
        login: shown.target.clone(),
        name: String::new(),
        instructions: String::new(),
        questions: vec![("Trust this key from now on? Type yes:".into(), true)],
    };
    let answer = tokio::select! {
        answer = prompter.ask(prompt) => answer,
        () = asking.interrupted() => Answer::Cancel,
    };
    match answer {
        Answer::Texts(texts) => texts
            .first()
            .is_some_and(|text| text.expose().trim() == "yes"),
        _ => false,
    }
}

/// Takes the old lines out and puts the new one in.
fn store(shown: &Shown, old: &[Recorded]) -> Result<Vec<(PathBuf, usize)>, Failure> {
    let mut removed = Vec::new();
    if shown.files.user.is_empty() {
        return Err(cannot(
            "there is no known_hosts file to write to".into(),
            "name one with UserKnownHostsFile",
        ));
    }
    for (index, file) in shown.files.user.iter().enumerate() {
        // By the key that was shown: while a person thought, the lines may have moved.
        let is_old = |number: usize, key: Option<&str>| {
            old.iter().any(|line| {
                line.file == *file
                    && match &line.key {
                        Ok(known) => key == Some(known.fingerprint.as_str()),
                        Err(_) => key.is_none() && line.line == number,
                    }
            })
        };
        let add = if index == 0 {
            std::slice::from_ref(&shown.key)
        } else {
            &[]
        };
        if add.is_empty() && !old.iter().any(|line| line.file == *file) {
            continue;
        }
        if old.is_empty() {
            clawline::tunnel::host_key::learn(file, &shown.name, &shown.key, shown.hash)
                .map_err(|error| cannot(error.to_string(), ""))?;
            continue;
        }
        let asked = Edit {
            refuse_patterns: true,
            add,
            hash: shown.hash,
            keep_old: true,
            ..Edit::of(&shown.name, &is_old)
        };
        let lines = edit(file, &asked)
            .map_err(|error| cannot(error.to_string(), "change that line by hand"))?;
        removed.extend(lines.into_iter().map(|line| (file.clone(), line)));
    }
    Ok(removed)
}

/// What was done.
fn say(
    context: &Context,
    target: &str,
    action: &str,
    shown: &Shown,
    old: &[Recorded],
    removed: &[(PathBuf, usize)],
) {
    let file = shown.files.user.first();
    if context.out.json {
        context.out.value(&json!({
            "v": 1, "ok": true, "target": target, "action": action,
            "name": shown.name.as_str(), "address": shown.address,
            "algorithm": shown.key.algorithm().as_str(), "fingerprint": fingerprint(&shown.key),
            "file": file, "old": old.iter().map(recorded_json).collect::<Vec<_>>(),
            "removed": places_json(removed),
        }));
        return;
    }
    let key = format!("{} {}", algorithm_word(&shown.key), fingerprint(&shown.key));
    let name = printable(shown.name.as_str(), 200);
    let what = match (action, file) {
        ("known", _) | (_, None) => format!("{name}  {key}"),
        (_, Some(file)) => format!("{action} {name}  {key}  {}", file.display()),
    };
    context.out.line(&what);
    for (file, line) in removed {
        context.out.line(&format!(
            "took out line {line} of {}; the file of before is {}.old",
            file.display(),
            file.display()
        ));
    }
}

fn places_json(places: &[(PathBuf, usize)]) -> Vec<Value> {
    let one = |(file, line): &(PathBuf, usize)| json!({ "file": file, "line": line });
    places.iter().map(one).collect()
}

fn refused(what: String, next: &str) -> Failure {
    LayerError::new(Layer::HostKey, what)
        .next(next)
        .retry(Retry::Never)
        .into()
}

/// A file that cannot be changed is no verdict on a key.
fn cannot(what: String, next: &str) -> Failure {
    match next {
        "" => Failure::Other(what),
        next => Failure::Other(format!("{what}; {next}")),
    }
}
