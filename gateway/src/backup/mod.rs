//! `backup` and `restore`: the state of a gateway as a directory of files, checked on both ways.
//!
//! A backup is written beside its place and put there in one step; a restored state is put in the
//! place of the old one in one step, and the old one is kept. Whatever is killed when, each place
//! holds the old or the new, whole.

mod files;
mod leftovers;
mod manifest;
mod swap;

use std::io;
use std::path::{Path, PathBuf};

use clawline::owner_file;
use clawline::secret::Secret;

use crate::approvals::POLICY_FILE;
use crate::lock::{LockError, StateLock};
use crate::store::{self, Carried, StoreError, now_ms};
use manifest::{Manifest, ManifestError};

/// The database, in the state directory and in a backup.
const DATABASE: &str = "gateway.db";
/// The config file in a backup.
const CONFIG: &str = "clawline.json5";
/// The state directory's other files in a backup.
const STATE: &str = "state";
/// The shared token, in the state directory and in the backup's copy of it.
const TOKEN: &str = "token";
/// What belongs to one life of a daemon, not to its state.
const LEFT_OUT: [&str; 6] = [
    "lock",
    "control.sock",
    "logs",
    DATABASE,
    "gateway.db-wal",
    "gateway.db-shm",
];

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is nothing to save.
    #[error("{} is not there: this gateway has no state yet", path.display())]
    NoState {
        /// The database.
        path: PathBuf,
    },
    /// The place is taken.
    #[error("{} is there already; choose another name", path.display())]
    Taken {
        /// The place.
        path: PathBuf,
    },
    /// The copy would lie in what is copied.
    #[error("{} is inside the state directory, which is what is saved; choose a place outside it", path.display())]
    Inside {
        /// The place.
        path: PathBuf,
    },
    /// It is not what it should be.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Its database has errors in it.
    #[error("{} is damaged: {detail}", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// It was made by a later release.
    #[error("{} was made by a newer clawline-gateway (schema {found}, this one knows {known}); restore it with that version", path.display())]
    Newer {
        /// The backup.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A daemon runs.
    #[error("{0}")]
    Running(#[from] LockError),
    /// The database cannot be copied or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { path, source }
}

/// Saves the state of `state_dir` and the config file, where there is one, as the directory `target`.
/// A gateway may be serving meanwhile.
///
/// # Errors
/// [`BackupError`]; `target` is then not there.
pub async fn save(
    state_dir: &Path,
    config: Option<&Path>,
    target: &Path,
) -> Result<(), BackupError> {
    let database = state_dir.join(DATABASE);
    if !database.exists() {
        return Err(BackupError::NoState { path: database });
    }
    if target.symlink_metadata().is_ok() {
        return Err(BackupError::Taken {
            path: target.to_owned(),
        });
    }
    let target = std::path::absolute(target).map_err(io_error(target))?;
    let parent = target
        .parent()
        .and_then(|parent| parent.canonicalize().ok());
    let state = state_dir.canonicalize().map_err(io_error(state_dir))?;
    if parent.is_some_and(|parent| parent.starts_with(&state)) {
        return Err(BackupError::Inside { path: target });
    }
    leftovers::clear_backups(&target);
    let staged = files::Staged::beside(&target)?;
    let copy = staged.path().join(DATABASE);
    store::copy(&database, &copy).await?;
    files::close(&copy, 0o600)?;
    files::copy_living_tree(state_dir, &staged.path().join(STATE), &LEFT_OUT)?;
    if let Some(config) = config.filter(|config| config.exists()) {
        files::copy_file(config, &staged.path().join(CONFIG))?;
    }
    let found = store::inspect(&copy).await?;
    if let Some(detail) = found.damage {
        return Err(BackupError::Damaged { path: copy, detail });
    }
    let manifest = Manifest::of(staged.path(), found.schema, now_ms())?;
    let place = staged.path().join(manifest::FILE);
    owner_file::create_new(&place, &Secret::new(manifest.to_text())).map_err(io_error(&place))?;
    // Read again what was written, as a restore would.
    Manifest::read(staged.path())?.verify(staged.path())?;
    staged.put_at(&target)
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Where the old state is now; `None` when there was none.
    pub aside: Option<PathBuf>,
    /// Whether the config file was put back; one that is there is left alone.
    pub config: bool,
    /// Who may connect now.
    pub devices: Devices,
    /// Which policy of commands counts now.
    pub policy: Policy,
}

/// Which standing policy of commands (`exec.approvals.set`) counts in a restored state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Neither the backup nor the state before has one.
    Absent,
    /// That of the backup: there is no state before that says anything about this gateway's.
    Saved,
    /// That of the state before, which is the newer word of the same gateway.
    Kept,
    /// None: the state before, of the same gateway, has none any more.
    Removed,
}

/// What became of the devices in a restored state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Devices {
    /// The state before knew what was removed, revoked and replaced since, and it stays so.
    Carried(Carried),
    /// Nothing says what was, and why: whoever could come in then, can now.
    Unknown(String),
    /// As [`Devices::Unknown`]: the state before was another gateway's.
    OfAnotherGateway,
    /// None is left, and no token of a device counts.
    Forgotten,
}

/// Puts the backup `source` in the place of `state_dir`, and its config where there is none. Devices
/// that were removed or revoked since stay so where the state before can tell; with `forget` every
/// device has to be paired again. Where the state before is this gateway's, its shared token and its
/// policy of commands stay: what one of them let somebody do at the time of the backup may have been
/// taken back since.
///
/// # Errors
/// [`BackupError`]; the state is then the old one.
pub async fn restore(
    source: &Path,
    state_dir: &Path,
    config: &Path,
    forget: bool,
) -> Result<Restored, BackupError> {
    let manifest = Manifest::read(source)?;
    manifest.verify(source)?;
    let copy = source.join(DATABASE);
    leftovers::clear_restores(state_dir);
    let staged = files::Staged::beside(state_dir)?;
    let database = staged.path().join(DATABASE);
    files::copy_file(&copy, &database)?;
    let found = store::inspect(&database).await?;
    if found.schema > found.known {
        return Err(BackupError::Newer {
            path: source.to_owned(),
            found: found.schema,
            known: found.known,
        });
    }
    if let Some(detail) = found.damage {
        return Err(BackupError::Damaged { path: copy, detail });
    }
    let rest = source.join(STATE);
    if rest.exists() {
        files::copy_tree(&rest, staged.path(), &LEFT_OUT)?;
    }
    // Held until the new state is in its place: nobody starts on the old one meanwhile.
    let _lock = match state_dir.exists() {
        true => Some(StateLock::take(state_dir)?),
        false => None,
    };
    let known = devices_since(&database, state_dir).await?;
    if matches!(known, Devices::Carried(_)) && state_dir.join(TOKEN).exists() {
        take_from_before(TOKEN, state_dir, staged.path())?;
    }
    let policy = settle_policy(&known, state_dir, staged.path())?;
    let devices = if forget {
        store::forget_devices(&database).await?;
        Devices::Forgotten
    } else {
        known
    };
    // What the check left beside the database is not part of it.
    for name in ["gateway.db-wal", "gateway.db-shm"] {
        let _ = std::fs::remove_file(staged.path().join(name));
    }
    files::sync_tree(staged.path())?;
    let aside = swap::put(staged, state_dir, now_ms())?;
    let saved = source.join(CONFIG);
    let is_wanted = saved.exists() && !config.exists();
    if is_wanted {
        let text = std::fs::read_to_string(&saved).map_err(io_error(&saved))?;
        owner_file::create_new(config, &Secret::new(text)).map_err(io_error(config))?;
    }
    Ok(Restored {
        aside,
        config: is_wanted,
        devices,
        policy,
    })
}

/// Puts a file of the state before, or its absence, in the place of the backup's.
fn take_from_before(name: &str, state_dir: &Path, staged: &Path) -> Result<(), BackupError> {
    let place = staged.join(name);
    match std::fs::remove_file(&place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(&place)(error)),
        _ => Ok(()),
    }?;
    let before = state_dir.join(name);
    match before.exists() {
        true => files::copy_file(&before, &place),
        false => Ok(()),
    }
}

/// Leaves in the staged state the policy of commands that is to count.
fn settle_policy(known: &Devices, state_dir: &Path, staged: &Path) -> Result<Policy, BackupError> {
    let is_saved = staged.join(POLICY_FILE).exists();
    let is_before = state_dir.join(POLICY_FILE).exists();
    let is_taken = match known {
        Devices::Carried(_) => true,
        // A damaged database is a common reason for a restore; the file beside it is still newer.
        Devices::Unknown(_) => is_before,
        Devices::OfAnotherGateway | Devices::Forgotten => false,
    };
    if is_taken {
        take_from_before(POLICY_FILE, state_dir, staged)?;
    }
    Ok(match (is_taken, is_before, is_saved) {
        (true, true, _) => Policy::Kept,
        (true, false, true) => Policy::Removed,
        (false, _, true) => Policy::Saved,
        (_, _, false) => Policy::Absent,
    })
}

/// Carries what was decided about devices since the backup from the state before into the database.
async fn devices_since(database: &Path, state_dir: &Path) -> Result<Devices, BackupError> {
    let old = state_dir.join(DATABASE);
    let since = match old.exists() {
        true => store::decisions(&old).await.map_err(|e| e.to_string()),
        false => Err("there was no state before".to_owned()),
    };
    Ok(match since {
        Ok(since) => match store::carry_over(database, &since).await? {
            Some(carried) => Devices::Carried(carried),
            None => Devices::OfAnotherGateway,
        },
        Err(why) => Devices::Unknown(why),
    })
}
