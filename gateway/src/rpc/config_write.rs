//! `config.set`, `config.patch` and `config.apply`: another text in the config file. It is checked
//! before it replaces anything, and nobody overwrites what they have not seen.

use std::path::{Path, PathBuf};

use clawline::config::{self, ConfigErrors, Environment, Problem};
use clawline::owner_file;
use clawline::protocol::error::RpcError;
use clawline::protocol::method::Method;
use clawline::protocol::methods::config::{
    ConfigApply, ConfigPatch, ConfigSet, ConfigWriteParams, ConfigWriteReply, REDACTED,
};
use clawline::secret::Secret;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::call::off_the_runtime;
use super::config::{hash, read};
use super::{Call, Failure, Table};
use crate::moved_secret;
use crate::policy::Policy;
use crate::redact::{merge, redacted, restored};
use crate::start_check;
use crate::state::App;

/// Longest text that is taken.
const MAX_TEXT: usize = 1024 * 1024;

/// One change at a time, from the look at the old text to the end of the write.
static WRITING: Mutex<()> = Mutex::const_new(());

pub(crate) fn rows(table: Table) -> Table {
    table
        .on_write::<ConfigSet, _>(set)
        .on_write::<ConfigPatch, _>(patch)
        .on_write::<ConfigApply, _>(apply)
}

async fn set(app: App, call: Call<ConfigSet>) -> Result<ConfigWriteReply, Failure> {
    write(&app, &call, &call.params, whole).await
}

async fn apply(app: App, call: Call<ConfigApply>) -> Result<ConfigWriteReply, Failure> {
    write(&app, &call, &call.params, whole).await
}

async fn patch(app: App, call: Call<ConfigPatch>) -> Result<ConfigWriteReply, Failure> {
    write(&app, &call, &call.params, merged).await
}

/// What is to stand in the file.
struct NewText {
    text: String,
    tree: Value,
    comments_kept: bool,
}

/// A text that replaces the file. Only where a placeholder has to be filled in is it written anew.
fn whole(raw: &str, old: &Value, path: &Path, policy: &Policy) -> Result<NewText, Failure> {
    let sent = config::parse_text(raw, path).map_err(refused)?;
    if !policy.kept_secrets {
        return Ok(anew(sent));
    }
    let tree = restored(&sent, old).map_err(refused)?;
    if policy.secrets_stay {
        moved_secret::check(&sent, old, &tree).map_err(refused)?;
    }
    if raw.contains(REDACTED) {
        return Ok(anew(tree));
    }
    Ok(NewText {
        text: raw.to_owned(),
        tree,
        comments_kept: true,
    })
}

/// Members that change what stands there.
fn merged(raw: &str, old: &Value, path: &Path, policy: &Policy) -> Result<NewText, Failure> {
    let sent = config::parse_text(raw, path).map_err(refused)?;
    let patch = match policy.kept_secrets {
        true => restored(&sent, old).map_err(refused)?,
        false => sent.clone(),
    };
    let mut tree = old.clone();
    merge(&mut tree, patch);
    if policy.secrets_stay {
        moved_secret::check(&sent, old, &tree).map_err(refused)?;
    }
    Ok(anew(tree))
}

fn anew(tree: Value) -> NewText {
    let text = serde_json::to_string_pretty(&tree).unwrap_or_default();
    NewText {
        text: text + "\n",
        tree,
        comments_kept: false,
    }
}

fn refused(why: impl std::fmt::Display) -> RpcError {
    RpcError::invalid(format!("invalid config: {why}"))
}

async fn write<M: Method>(
    app: &App,
    call: &Call<M>,
    params: &ConfigWriteParams,
    make: fn(&str, &Value, &Path, &Policy) -> Result<NewText, Failure>,
) -> Result<ConfigWriteReply, Failure> {
    if params.raw.len() > MAX_TEXT {
        let why = format!("/raw must be at most {MAX_TEXT} bytes");
        return Err(RpcError::invalid_params(M::NAME, why).into());
    }
    let _alone = WRITING.lock().await;
    let settings = app.settings();
    let path = &settings.config.path;
    if path.as_os_str().is_empty() {
        return Err(RpcError::invalid("this gateway has no config file").into());
    }
    if app.policy.foreign_config && config::is_openclaws(path) {
        return Err(RpcError::invalid(
            "this gateway reads OpenClaw's own config file, which it never writes; change it there",
        )
        .into());
    }
    let failed = |error: std::io::Error| {
        tracing::error!(path = %path.display(), %error, "the config file is out of reach");
        RpcError::unavailable(format!("the config file is out of reach: {error}"))
    };
    let old = read(path).await.map_err(failed)?;
    if app.policy.seen_config {
        seen(old.as_deref(), params.base_hash.as_deref())?;
    }
    let tree = match &old {
        // What cannot be read has no values to keep, and may be replaced by something better.
        Some(text) => config::parse_text(text, path).unwrap_or_else(|_| json!({})),
        None => json!({}),
    };
    let new = make(&params.raw, &tree, path, &app.policy)?;
    check(app, &new.text, path).await.map_err(|errors| {
        let issues: Vec<Value> = errors
            .0
            .iter()
            .map(|problem| json!({"path": problem.key, "message": problem.to_string()}))
            .collect();
        refused(&errors).details(json!({"issues": issues}))
    })?;
    let reply = ConfigWriteReply {
        ok: true,
        path: path.display().to_string(),
        config: redacted(&new.tree),
        hash: hash(&new.text),
        comments_kept: new.comments_kept,
    };
    let (target, text) = (real_path(path), Secret::new(new.text));
    // The file system may be slow; the connection's task must not be.
    let written = off_the_runtime(move || owner_file::replace(&target, &text)).await?;
    written.map_err(failed)?;
    tracing::info!(path = %path.display(), method = M::NAME, conn = %call.conn.id, "config written");
    Ok(reply)
}

/// Whether the daemon would start with this text, under the flags and the environment that it has now:
/// what a start refuses is not written.
async fn check(app: &App, text: &str, path: &Path) -> Result<(), ConfigErrors> {
    let (app, text, path) = (app.clone(), text.to_owned(), path.to_owned());
    let work = move || {
        let Some(draft) = app.draft.get() else {
            let environment = Environment::of_process().unwrap_or_default();
            return config::check_text(&environment, &text, &path);
        };
        let settings = draft(&text)?;
        if !app.policy.startable_config {
            return Ok(());
        }
        start_check::check_start(&settings).map_err(|error| problem(&error))
    };
    // Certificates and token files are read.
    let checked = tokio::task::spawn_blocking(work).await;
    checked.unwrap_or_else(|error| Err(problem(&error)))
}

fn problem(error: &dyn std::fmt::Display) -> ConfigErrors {
    ConfigErrors(vec![Problem {
        file: None,
        position: None,
        key: None,
        what: error.to_string(),
        next: String::new(),
    }])
}

/// A link stays a link: what it names is replaced.
fn real_path(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Refuses a change by somebody who has not seen what it would overwrite.
fn seen(old: Option<&str>, base: Option<&str>) -> Result<(), Failure> {
    match (old, base) {
        (None, _) => Ok(()),
        (Some(_), None) => {
            Err(RpcError::invalid("config base hash required; re-run config.get and retry").into())
        }
        (Some(old), Some(base)) if hash(old) == base => Ok(()),
        (Some(_), Some(_)) => Err(RpcError::invalid(
            "config changed since last load; re-run config.get and retry",
        )
        .into()),
    }
}
