//! What exactly would run: frozen, digested, and held by open descriptors from the moment it was looked
//! up. Nothing of it can be exchanged between approval and run without being noticed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::run_request::RunRequest;
use super::{Refused, command_text, programs, wrappers};

/// How long a plan may wait for its approval.
pub(super) const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// Largest program that is looked at, in bytes.
const MAX_PROGRAM: u64 = 1 << 30;
/// Largest script among the arguments that is looked at, in bytes.
const MAX_SCRIPT: u64 = 16 * 1024 * 1024;
/// Most scripts among the arguments.
const MAX_SCRIPTS: usize = 8;
/// Times of files have the kernel's clock tick for a grain, and some file systems a coarser one: a
/// content that was written this recently is read again.
const GRAIN: Duration = Duration::from_secs(3);

/// A file and its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct FileId {
    dev: u64,
    ino: u64,
    size: u64,
    /// Of content and of everything else about it, in nanoseconds since the epoch.
    changed: (i128, i128),
    sha256: String,
}

/// A script that an argument names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Script {
    index: usize,
    path: PathBuf,
    file: FileId,
}

/// What would run. Two plans with the same digest run the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    /// The words, the first as it was given.
    pub argv: Vec<String>,
    /// The program, absolute and without links.
    pub exe: PathBuf,
    /// Its file.
    pub(super) exe_file: FileId,
    /// Where it runs, absolute and without links.
    pub cwd: PathBuf,
    cwd_id: (u64, u64),
    scripts: Vec<Script>,
    /// All variables that it gets.
    pub env: BTreeMap<String, String>,
    /// Names of those that were asked for.
    pub asked_env: Vec<String>,
    /// On whose behalf.
    pub agent: Option<String>,
    /// On whose behalf.
    pub session: Option<String>,
    /// The node.
    pub node: String,
    /// Until when it may be run, ms since the epoch.
    pub expires_at_ms: i64,
}

/// A plan and the open descriptors of its program and directory.
#[derive(Debug)]
pub(super) struct Prepared {
    pub plan: Plan,
    /// Why a list cannot allow it.
    pub always_asks: Option<String>,
    pub exe: File,
    pub cwd: File,
    made: SystemTime,
}

impl Plan {
    /// Over everything in it, in hex.
    pub fn digest(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        command_text::hex(&Sha256::digest(text))
    }

    /// Device and inode of the program.
    pub(super) fn exe_id(&self) -> (u64, u64) {
        (self.exe_file.dev, self.exe_file.ino)
    }

    /// Of the program's content, in hex.
    pub fn exe_sha256(&self) -> &str {
        &self.exe_file.sha256
    }

    /// Whether a request wants to run exactly this.
    pub(super) fn is_for(&self, request: &RunRequest) -> bool {
        let asked = self.asked_env.iter().map(|name| (name, self.env.get(name)));
        self.argv == request.argv
            && self.is_in(request.cwd.as_deref())
            && asked.eq(request.env.iter().map(|(name, value)| (name, Some(value))))
            && self.agent == request.agent
            && self.session == request.session
    }

    /// Whether this is the directory that was asked for. Where none was, the person who decided was shown
    /// none: that is home, and not where some earlier request wanted to be.
    fn is_in(&self, asked: Option<&Path>) -> bool {
        match asked {
            Some(cwd) => cwd == self.cwd,
            None => programs::home()
                .canonicalize()
                .is_ok_and(|home| home == self.cwd),
        }
    }
}

impl Prepared {
    /// Looks everything up and holds it. Reads files: not for an async task.
    pub fn make(request: &RunRequest, node: &str, now: SystemTime) -> Result<Self, Refused> {
        let (cwd_path, cwd) = directory(request.cwd.as_deref())?;
        let first = &request.argv[0];
        let named = programs::resolve(first, &cwd_path).ok_or_else(|| {
            Refused::invalid(format!("command[0]: there is no program {}", shown(first)))
        })?;
        let (exe_path, exe) = open(&named).map_err(|error| unreadable(first, &error))?;
        let metadata = exe.metadata().map_err(|error| unreadable(first, &error))?;
        if metadata.permissions().mode() & 0o111 == 0 {
            return Err(Refused::invalid(format!(
                "command[0]: {} is not a program",
                shown(first)
            )));
        }
        if metadata.size() > MAX_PROGRAM {
            return Err(Refused::invalid(
                "command[0]: the program is larger than 1 GiB",
            ));
        }
        let exe_file = FileId::of(&exe).map_err(|error| unreadable(first, &error))?;
        let always_asks = wrappers::always_asks(&request.argv, &exe_path);
        let scripts = match &always_asks {
            Some(_) => scripts(&request.argv, &cwd_path)?,
            None => Vec::new(),
        };
        let always_asks = match request.env.is_empty() {
            true => always_asks,
            false => Some("it gets variables of its own".into()),
        };
        let cwd_id = identity(&cwd).map_err(|error| unreadable("cwd", &error))?;
        let mut env = programs::environment();
        env.extend(request.env.clone());
        let expires = now + MAX_AGE;
        let since = expires
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Self {
            plan: Plan {
                argv: request.argv.clone(),
                exe: exe_path,
                exe_file,
                cwd: cwd_path,
                cwd_id,
                scripts,
                env,
                asked_env: request.env.keys().cloned().collect(),
                agent: request.agent.clone(),
                session: request.session.clone(),
                node: node.to_owned(),
                expires_at_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            },
            always_asks,
            exe,
            cwd,
            made: now,
        })
    }

    /// Whether what was looked up is still what is there: the same names lead to the same files with the
    /// same content. Reads files: not for an async task.
    pub fn check(&self, now: SystemTime) -> Result<(), Refused> {
        let age = now.duration_since(self.made).unwrap_or(Duration::MAX);
        if age > MAX_AGE {
            return Err(Refused::denied("the approval came too late"));
        }
        let plan = &self.plan;
        let changed = |what: &str| Err(Refused::plan_changed(what));
        let there =
            programs::resolve(&plan.argv[0], &plan.cwd).and_then(|path| path.canonicalize().ok());
        if there.as_deref() != Some(plan.exe.as_path()) {
            return changed("the program's path leads elsewhere");
        }
        if !self.is_same(&plan.exe, &plan.exe_file)
            || !self.has_same_content(&self.exe, &plan.exe_file)
        {
            return changed("the program is another one");
        }
        let cwd = fs::symlink_metadata(&plan.cwd).map(|found| (found.dev(), found.ino()));
        if cwd.ok() != Some(plan.cwd_id) || plan.cwd.canonicalize().ok().as_ref() != Some(&plan.cwd)
        {
            return changed("the directory is another one");
        }
        for script in &plan.scripts {
            let index = script.index;
            let opened = open(&resolve_in(&plan.argv[index], &plan.cwd));
            let is_same = opened.is_ok_and(|(path, file)| {
                path == script.path && self.has_same_content(&file, &script.file)
            });
            if !is_same {
                return changed(&format!("command[{index}] is another file"));
            }
        }
        Ok(())
    }

    /// Whether the program that is held was not written to: to be asked again once it runs.
    pub fn is_program_untouched(&self) -> bool {
        self.has_same_content(&self.exe, &self.plan.exe_file)
    }

    fn is_same(&self, path: &Path, known: &FileId) -> bool {
        fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == (known.dev, known.ino))
    }

    fn has_same_content(&self, file: &File, known: &FileId) -> bool {
        let Ok(metadata) = file.metadata() else {
            return false;
        };
        if !known.matches(&metadata) {
            return false;
        }
        let made = self
            .made
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let latest = known.changed.0.max(known.changed.1);
        let quiet = i128::try_from(made.as_nanos()).unwrap_or(i128::MAX) - latest;
        if quiet > i128::try_from(GRAIN.as_nanos()).unwrap_or_default() {
            return true;
        }
        FileId::of(file).is_ok_and(|now| now == *known)
    }
}

impl FileId {
    /// Reads the whole file. The position of `file` is left where it was.
    fn of(file: &File) -> io::Result<Self> {
        let before = file.metadata()?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        let mut at = 0;
        loop {
            let read = std::os::unix::fs::FileExt::read_at(file, &mut buffer, at)?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            at += read as u64;
        }
        let id = Self {
            dev: before.dev(),
            ino: before.ino(),
            size: before.size(),
            changed: times(&before),
            sha256: command_text::hex(&hash.finalize()),
        };
        match id.matches(&file.metadata()?) && at == id.size {
            true => Ok(id),
            false => Err(io::Error::other("it changes while it is read")),
        }
    }

    fn matches(&self, found: &fs::Metadata) -> bool {
        (self.dev, self.ino, self.size) == (found.dev(), found.ino(), found.size())
            && self.changed == times(found)
    }
}

fn times(metadata: &fs::Metadata) -> (i128, i128) {
    let nanos = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
    (
        nanos(metadata.mtime(), metadata.mtime_nsec()),
        nanos(metadata.ctime(), metadata.ctime_nsec()),
    )
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|found| (found.dev(), found.ino()))
}

/// Opens what a path leads to, and says which file that is. A path that is exchanged meanwhile is an
/// error.
fn open(path: &Path) -> io::Result<(PathBuf, File)> {
    let real = path.canonicalize()?;
    let options = {
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
        File::options()
            .read(true)
            .custom_flags(flags.bits())
            .clone()
    };
    let file = options.open(&real)?;
    let found = fs::symlink_metadata(&real)?;
    if identity(&file)? != (found.dev(), found.ino()) || !found.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok((real, file))
}

fn directory(cwd: Option<&Path>) -> Result<(PathBuf, File), Refused> {
    let cwd = cwd.map_or_else(programs::home, Path::to_owned);
    let bad = |why: &str| Refused::invalid(format!("cwd {} {why}", shown(&cwd.to_string_lossy())));
    let real = cwd.canonicalize().map_err(|_| bad("is not there"))?;
    let file = File::open(&real).map_err(|_| bad("cannot be opened"))?;
    let found = fs::symlink_metadata(&real).map_err(|_| bad("is not there"))?;
    let id = identity(&file).map_err(|_| bad("cannot be opened"))?;
    if !found.is_dir() || id != (found.dev(), found.ino()) {
        return Err(bad("is no directory"));
    }
    Ok((real, file))
}

fn resolve_in(word: &str, cwd: &Path) -> PathBuf {
    cwd.join(word)
}

/// The files among the arguments of a program that runs what its arguments say.
fn scripts(argv: &[String], cwd: &Path) -> Result<Vec<Script>, Refused> {
    let mut scripts = Vec::new();
    for (index, word) in argv.iter().enumerate().skip(1) {
        if word.is_empty() || word.starts_with('-') || word.contains('\n') {
            continue;
        }
        let Ok((path, file)) = open(&resolve_in(word, cwd)) else {
            continue;
        };
        let size = file.metadata().map_or(u64::MAX, |found| found.size());
        if size > MAX_SCRIPT {
            continue;
        }
        if scripts.len() == MAX_SCRIPTS {
            return Err(Refused::invalid(format!(
                "command[{index}]: more than {MAX_SCRIPTS} files among the arguments"
            )));
        }
        let file = FileId::of(&file).map_err(|error| unreadable(word, &error))?;
        scripts.push(Script { index, path, file });
    }
    Ok(scripts)
}

fn unreadable(what: &str, error: &io::Error) -> Refused {
    Refused::invalid(format!("{}: {error}", shown(what)))
}

fn shown(text: &str) -> String {
    clawline::layer::printable(text, 200)
}

/// Reads at most `limit` bytes of a file from its beginning.
pub(super) fn read_up_to(file: &mut File, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(limit).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests;
