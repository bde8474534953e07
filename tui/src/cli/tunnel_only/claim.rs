//! One holder for a target with its local ends: a lock that the kernel lets go of when its holder dies,
//! with a note in it that says who that is.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clawline::config::paths::Paths;
use clawline::owner_file;
use clawline::tunnel::spec::LocalEnd;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::state::now_ms;
use crate::cli::process;
use crate::cli::status::duration;

/// How long the holder of a fresh lock may take to write who it is.
const NOTE_DEADLINE: Duration = Duration::from_millis(300);
/// Time between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Longest note that is read.
const MAX_NOTE: u64 = 64 * 1024;
/// How often a lock file that was removed meanwhile is made anew.
const TRIES: usize = 20;

/// Who holds a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub v: u32,
    pub pid: u32,
    pub start_time: Option<u64>,
    /// As messages name it.
    pub target: String,
    /// As it was typed or configured.
    pub typed: String,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
    /// The local ends that were asked for.
    pub ends: Vec<String>,
}

impl Holder {
    /// This process.
    pub fn ours(target: &str, typed: Option<&str>, ends: &[LocalEnd]) -> Self {
        let pid = std::process::id();
        Self {
            v: 1,
            pid,
            start_time: process::start_time(pid),
            target: target.to_owned(),
            typed: typed.unwrap_or(target).to_owned(),
            since: now_ms(),
            ends: ends.iter().map(ToString::to_string).collect(),
        }
    }

    /// The name of lock and socket: the same target with the same ends has the same. An end whose port
    /// the system chooses is never the same as another.
    fn id(&self, ends: &[LocalEnd]) -> String {
        let mut names = self.ends.clone();
        names.sort();
        names.push(self.target.clone());
        let is_chosen = |end: &LocalEnd| matches!(end, LocalEnd::Tcp(tcp) if tcp.port() == 0);
        if ends.iter().any(is_chosen) {
            names.push(self.pid.to_string());
        }
        format!("{:016x}", fnv1a(&names.join("\n")))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = u64::try_from((now_ms() - self.since) / 1000).unwrap_or(0);
        let since = duration(seconds);
        let ends = self.ends.join(", ");
        write!(f, "pid {}, since {since}, with {ends}", self.pid)
    }
}

/// A hash that stays the same from release to release, for names of files.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The right to hold a tunnel, until dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    file: Flock<File>,
    lock: PathBuf,
}

/// Why a tunnel cannot be held.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    /// Somebody holds it already; who, as far as they wrote it down.
    #[error("it is held already")]
    Held(Option<Box<Holder>>),
    /// No directory for the lock, or the system says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Where claims are: the runtime directory, and the state directory where that one cannot be used.
pub(crate) fn places(paths: &Paths) -> Vec<PathBuf> {
    let mut places = vec![paths.runtime_dir().to_owned()];
    let fallback = paths.state_dir().join("run");
    if !places.contains(&fallback) {
        places.push(fallback);
    }
    places
}

impl Claim {
    /// Takes the claim in the first of the places that can be used.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn take(
        places: &[PathBuf],
        holder: &Holder,
        ends: &[LocalEnd],
    ) -> Result<Self, ClaimError> {
        let mut last = None;
        for place in places {
            match Self::take_in(place, holder, &holder.id(ends)) {
                Err(ClaimError::Io { path, source }) => {
                    last = Some(ClaimError::Io { path, source })
                }
                taken => return taken,
            }
        }
        Err(last.unwrap_or(ClaimError::Io {
            path: PathBuf::new(),
            source: io::ErrorKind::NotFound.into(),
        }))
    }

    fn take_in(place: &Path, holder: &Holder, id: &str) -> Result<Self, ClaimError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| ClaimError::Io { path, source }
        };
        owner_file::create_dir(place).map_err(failed(place))?;
        let lock = place.join(format!("tunnel-{id}.lock"));
        for _ in 0..TRIES {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.mode(0o600).open(&lock).map_err(failed(&lock))?;
            let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((_, Errno::EWOULDBLOCK)) => {
                    match read_patiently(&lock) {
                        Some(holder) => return Err(ClaimError::Held(Some(Box::new(holder)))),
                        // Somebody only looked at what a killed holder left behind.
                        None => continue,
                    }
                }
                Err((_, error)) => return Err(failed(&lock)(error.into())),
            };
            // Its last holder may have removed it between our open and our lock.
            if !is_still(&file, &lock) {
                continue;
            }
            let note = serde_json::to_string(holder).unwrap_or_default();
            let written = (|| {
                file.set_len(0)?;
                file.rewind()?;
                file.write_all(note.as_bytes())
            })();
            written.map_err(failed(&lock))?;
            return Ok(Self { file, lock });
        }
        // As often as it was taken, somebody else took it and let go of it.
        Err(ClaimError::Held(None))
    }

    /// Where the status socket belongs.
    pub fn socket(&self) -> PathBuf {
        self.lock.with_extension("sock")
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // While the lock is held, so that nobody else's is removed.
        if is_still(&self.file, &self.lock) {
            let _ = fs::remove_file(&self.lock);
        }
    }
}

fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn read(lock: &Path) -> Option<Holder> {
    let mut text = String::new();
    let file = File::open(lock).ok()?;
    file.take(MAX_NOTE).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Reads the note of a lock that somebody took this moment.
fn read_patiently(lock: &Path) -> Option<Holder> {
    let until = Instant::now() + NOTE_DEADLINE;
    loop {
        match read(lock) {
            // A note of the one before is no answer.
            Some(holder) if process::is_running(holder.pid, holder.start_time) => {
                return Some(holder);
            }
            _ if Instant::now() >= until => return None,
            _ => std::thread::sleep(LOOK_AGAIN),
        }
    }
}

/// A tunnel that somebody holds now.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub holder: Holder,
    pub socket: PathBuf,
    pub lock: PathBuf,
}

impl Held {
    /// Whether its holder still has it.
    pub fn is_held(&self) -> bool {
        is_locked(&self.lock)
    }
}

fn is_locked(lock: &Path) -> bool {
    let Ok(file) = File::open(lock) else {
        return false;
    };
    matches!(
        Flock::lock(file, FlockArg::LockSharedNonblock),
        Err((_, Errno::EWOULDBLOCK))
    )
}

/// The tunnels that are held now, oldest first. What a killed holder left behind is removed.
pub(crate) fn held(places: &[PathBuf]) -> Vec<Held> {
    let mut found = Vec::new();
    for entry in places.iter().filter_map(|place| fs::read_dir(place).ok()) {
        for lock in entry.flatten().map(|entry| entry.path()) {
            let name = lock.file_name().unwrap_or_default().to_string_lossy();
            if !(name.starts_with("tunnel-") && name.ends_with(".lock")) {
                continue;
            }
            let socket = lock.with_extension("sock");
            if !is_locked(&lock) {
                clear(&lock, &socket);
                continue;
            }
            if let Some(holder) = read_patiently(&lock) {
                found.push(Held {
                    holder,
                    socket,
                    lock,
                });
            }
        }
    }
    found.sort_by_key(|held| (held.holder.since, held.holder.pid));
    found
}

/// Removes what a killed holder left behind, unless somebody takes it this moment.
fn clear(lock: &Path, socket: &Path) {
    let Ok(file) = File::open(lock) else { return };
    if let Ok(file) = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        && is_still(&file, lock)
    {
        let _ = fs::remove_file(socket);
        let _ = fs::remove_file(lock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> LocalEnd {
        LocalEnd::Tcp(text.parse().unwrap())
    }

    #[test]
    fn the_second_one_is_told_who_was_first_and_may_follow_it() {
        let dir = tempfile::tempdir().unwrap();
        let places = [dir.path().join("run")];
        let ends = [end("127.0.0.1:18789")];
        let ours = Holder::ours("home", None, &ends);
        let claim = Claim::take(&places, &ours, &ends).unwrap();
        let Err(ClaimError::Held(Some(told))) = Claim::take(&places, &ours, &ends) else {
            panic!("it is held");
        };
        assert_eq!(*told, ours);
        assert_eq!(held(&places).len(), 1);
        // Other ends are another tunnel.
        let others = [end("127.0.0.1:18790")];
        let other = Holder::ours("home", None, &others);
        assert!(Claim::take(&places, &other, &others).is_ok());
        drop(claim);
        assert!(Claim::take(&places, &ours, &ends).is_ok());
        assert_eq!(fs::read_dir(&places[0]).unwrap().count(), 0);
    }

    #[test]
    fn ends_that_the_system_chooses_are_never_the_same() {
        let ends = [end("127.0.0.1:0")];
        let ours = Holder::ours("home", None, &ends);
        let other = Holder {
            pid: ours.pid + 1,
            ..ours.clone()
        };
        assert_ne!(ours.id(&ends), other.id(&ends));
    }

    #[test]
    fn what_a_killed_holder_left_is_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        let places = [dir.path().to_owned()];
        let note = serde_json::to_string(&Holder::ours("home", None, &[])).unwrap();
        fs::write(dir.path().join("tunnel-ab.lock"), note).unwrap();
        fs::write(dir.path().join("tunnel-ab.sock"), "").unwrap();
        fs::write(dir.path().join("other"), "").unwrap();
        assert!(held(&places).is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let places = [dir.path().join("file/run"), dir.path().join("run")];
        let ours = Holder::ours("home", None, &[]);
        let claim = Claim::take(&places, &ours, &[]).unwrap();
        assert!(claim.socket().starts_with(&places[1]));
    }
}
