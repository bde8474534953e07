//! Taking lines about one host out of a known_hosts file, and putting others in their place.

use std::io;
use std::path::{Path, PathBuf};

use russh::keys::PublicKey;

use super::fingerprint::fingerprint_of_blob;
use super::learn::line_for;
use super::line::{Hosts, Line, Marker};
use super::name::HostName;
use super::store::LockedFile;

/// Why a file was left as it was.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The name would mean something else in the file.
    #[error("the host name \"{0}\" cannot be stored in a known_hosts file")]
    Name(String),
    /// The file cannot be opened, locked, or put in place.
    #[error("cannot change {}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line speaks of hosts by a pattern, so it cannot be taken from one of them.
    #[error("line {line} of {} is about more hosts ({hosts})", file.display())]
    Pattern {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Its patterns.
        hosts: String,
    },
}

/// What is to be taken out and put in.
#[derive(Clone)]
pub struct Edit<'a> {
    /// The host.
    pub name: &'a HostName,
    /// Whether to take the host out of a line about it with a plain key: by the line's number from 1 and
    /// the key's fingerprint, which a broken key has none of.
    pub takes: &'a dyn Fn(usize, Option<&str>) -> bool,
    /// A line that means the host by a pattern is an error where it would be taken; else it stays.
    pub refuse_patterns: bool,
    /// Keys to add for the host at the end.
    pub add: &'a [PublicKey],
    /// Hide the name of what is added (`HashKnownHosts`).
    pub hash: bool,
    /// Keep the file of before as `NAME.old`.
    pub keep_old: bool,
}

impl<'a> Edit<'a> {
    /// Takes lines out and adds nothing.
    pub fn of(name: &'a HostName, takes: &'a dyn Fn(usize, Option<&str>) -> bool) -> Self {
        Self {
            name,
            takes,
            refuse_patterns: false,
            add: &[],
            hash: false,
            keep_old: false,
        }
    }
}

/// Carries out `edit` on `file` and returns the numbers of the lines that the host was taken out of.
/// Lines with `@revoked` and `@cert-authority` stay, and a line that also names others keeps those.
///
/// The file changes as a whole or not at all, and keeps its mode and every other byte.
pub fn edit(file: &Path, edit: &Edit<'_>) -> Result<Vec<usize>, EditError> {
    if !edit.add.is_empty() && !edit.name.can_be_stored() {
        let name = crate::layer::printable(edit.name.as_str(), 120);
        return Err(EditError::Name(name));
    }
    let write_error = |source| EditError::Write {
        file: file.to_owned(),
        source,
    };
    if !file.exists() && edit.add.is_empty() {
        return Ok(Vec::new());
    }
    let locked = LockedFile::open(file).map_err(write_error)?;
    let mut content = Vec::with_capacity(locked.content().len());
    let mut changed = Vec::new();
    for (index, line) in locked
        .content()
        .split_inclusive(|b| *b == b'\n')
        .enumerate()
    {
        let number = index + 1;
        let (fate, key) = fate(line, edit.name);
        let wanted = !matches!(fate, Fate::Keep) && (edit.takes)(number, key.as_deref());
        match fate {
            Fate::Drop if wanted => changed.push(number),
            Fate::Shorten(shorter) if wanted => {
                changed.push(number);
                content.extend(shorter);
            }
            Fate::Pattern(hosts) if wanted && edit.refuse_patterns => {
                return Err(EditError::Pattern {
                    file: file.to_owned(),
                    line: number,
                    hosts: crate::layer::printable(&hosts, 120),
                });
            }
            _ => content.extend_from_slice(line),
        }
    }
    if changed.is_empty() && edit.add.is_empty() {
        return Ok(changed);
    }
    if !edit.add.is_empty() && content.last().is_some_and(|last| *last != b'\n') {
        content.push(b'\n');
    }
    for key in edit.add {
        let line = line_for(edit.name, key, edit.hash).map_err(write_error)?;
        content.extend(line.bytes());
    }
    locked
        .replace(&content, edit.keep_old)
        .map_err(write_error)?;
    Ok(changed)
}

/// What a line would become without the host.
enum Fate {
    /// It is not about the host.
    Keep,
    /// It is about nobody else.
    Drop,
    /// It goes on for the others.
    Shorten(Vec<u8>),
    /// It means the host by these patterns.
    Pattern(String),
}

/// What becomes of a line, and the fingerprint of its key.
fn fate(raw: &[u8], name: &HostName) -> (Fate, Option<String>) {
    let text = String::from_utf8_lossy(raw);
    let Ok(Some(line)) = Line::parse(&text) else {
        return (Fate::Keep, None);
    };
    if line.marker != Marker::Host || !line.hosts.matches(name) {
        return (Fate::Keep, None);
    }
    let key = line.key.as_ref().ok();
    let key = key.map(|key| fingerprint_of_blob(&key.blob));
    let Hosts::Patterns(patterns) = &line.hosts else {
        return (Fate::Drop, key);
    };
    if patterns.iter().any(|p| p.contains(['*', '?', '!'])) {
        return (Fate::Pattern(patterns.join(",")), key);
    }
    let spellings = [name.spellings(), name.dotted()].concat();
    let others: Vec<&str> = patterns
        .iter()
        .filter(|pattern| !spellings.contains(pattern))
        .map(String::as_str)
        .collect();
    if others.is_empty() {
        return (Fate::Drop, key);
    }
    let is_blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = raw.iter().take_while(|b| is_blank(b)).count();
    let hosts = raw.iter().skip(start);
    let end = start + hosts.take_while(|b| !is_blank(b)).count();
    let rest = raw.get(end..).unwrap_or_default();
    let shorter = [others.join(",").as_bytes(), rest].concat();
    (Fate::Shorten(shorter), key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn key(seed: u8) -> PublicKey {
        let public = russh::keys::ssh_key::public::Ed25519PublicKey([seed; 32]);
        PublicKey::from(russh::keys::ssh_key::public::KeyData::from(public))
    }

    fn run(before: &str, lines: Option<&[usize]>, add: &[PublicKey]) -> (String, Vec<usize>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        std::fs::write(&file, before).unwrap();
        let changed = edit(
            &file,
            &Edit {
                name: &HostName::new("h", 22),
                takes: &|number, _| lines.is_none_or(|lines| lines.contains(&number)),
                refuse_patterns: lines.is_some(),
                add,
                hash: false,
                keep_old: true,
            },
        )
        .unwrap();
        if !changed.is_empty() {
            let old = std::fs::read_to_string(dir.path().join("known_hosts.old")).unwrap();
            assert_eq!(old, before);
        }
        (std::fs::read_to_string(&file).unwrap(), changed)
    }

    #[test]
    fn only_the_lines_of_the_host_go_and_everything_else_stays_as_it_was() {
        let others = format!(
            "# by hand\r\n\n@revoked h {KEY}\n@cert-authority h {KEY}\n*.x,h? {KEY}\n[h]:2222 {KEY}\n broken\n"
        );
        let before = format!("{others}h {KEY}\n\tH\t{KEY} me@h\nx,h,y {KEY} note\nlast {KEY}");
        let (after, changed) = run(&before, None, &[]);
        assert_eq!(after, format!("{others}x,y {KEY} note\nlast {KEY}"));
        assert_eq!(changed, [8, 9, 10]);
        let (after, changed) = run(&before, Some(&[9]), &[key(1)]);
        let line = line_for(&HostName::new("h", 22), &key(1), false).unwrap();
        assert_eq!(
            after,
            format!("{others}h {KEY}\nx,h,y {KEY} note\nlast {KEY}\n{line}")
        );
        assert_eq!(changed, [9]);
        assert_eq!(run(&others, None, &[]).0, others);
    }

    #[test]
    fn a_pattern_is_left_alone_and_named_when_it_was_meant() {
        let before = format!("h,?.x {KEY}\n* {KEY}\n");
        assert_eq!(run(&before, None, &[]).0, before);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        std::fs::write(&file, &before).unwrap();
        let (name, second) = (HostName::new("h", 22), |number: usize, _: Option<&str>| {
            number == 2
        });
        let asked = Edit {
            refuse_patterns: true,
            ..Edit::of(&name, &second)
        };
        let error = edit(&file, &asked).unwrap_err();
        assert!(error.to_string().contains("line 2 of "), "{error}");
        assert!(
            error.to_string().ends_with("about more hosts (*)"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    }
}
