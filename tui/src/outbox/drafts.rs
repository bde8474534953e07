//! What was typed and not sent: one owner-only file a session.

use std::io;
use std::path::{Path, PathBuf};

use clawline::owner_file;
use clawline::secret::Secret;

/// Longest readable part of a file name.
const MAX_NAME: usize = 120;

/// The directory of the drafts of one gateway.
#[derive(Debug, Clone)]
pub(crate) struct Drafts {
    directory: PathBuf,
}

impl Drafts {
    /// Drafts in this directory; it is made with the first one.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    fn path(&self, session: &str) -> PathBuf {
        self.directory.join(file_name(session))
    }

    /// The draft of a session; empty when there is none.
    ///
    /// # Errors
    /// Whatever the system says, apart from "not found".
    pub(crate) fn load(&self, session: &str) -> io::Result<String> {
        match std::fs::read_to_string(self.path(session)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read,
        }
    }

    /// Keeps a draft; an empty one removes the file.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(crate) fn save(&self, session: &str, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return match std::fs::remove_file(self.path(session)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            };
        }
        owner_file::replace(&self.path(session), &Secret::new(text))
    }
}

/// A name that every file system takes, and that two sessions never share.
fn file_name(session: &str) -> String {
    let mut name = String::new();
    for byte in session.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            // Upper case is escaped too: some file systems do not tell it from lower case.
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    if name.len() > MAX_NAME {
        let hash = fnv(session.as_bytes());
        name.truncate(MAX_NAME);
        name.push_str(&format!("~{hash:016x}"));
    }
    name.push_str(".txt");
    name
}

/// FNV-1a, 64 bits: the same in every release, which the standard library's hasher does not promise.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_comes_back_and_an_empty_one_is_forgotten() {
        let home = tempfile::tempdir().expect("directory");
        let drafts = Drafts::new(&home.path().join("drafts"));
        assert_eq!(drafts.load("agent:main:main").expect("load"), "");
        drafts
            .save("agent:main:main", "half a\nthought")
            .expect("save");
        assert_eq!(
            drafts.load("agent:main:main").expect("load"),
            "half a\nthought"
        );
        drafts.save("agent:main:main", "").expect("save");
        drafts
            .save("agent:main:main", "")
            .expect("twice is no error");
        assert_eq!(drafts.load("agent:main:main").expect("load"), "");
    }

    #[test]
    fn names_are_safe_short_and_different() {
        assert_eq!(
            file_name("agent:main:../x"),
            "agent%3amain%3a%2e%2e%2fx.txt"
        );
        let long = "a".repeat(500);
        assert!(file_name(&long).len() < 160);
        assert_ne!(file_name(&long), file_name(&"a".repeat(501)));
        assert_ne!(file_name("A"), file_name("a"));
    }
}
