//! What a file looks like from outside: another file under its name, or another content, shows.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A file's identity and the times at which it changed; empty when there is none. Following links
/// shows a link that was pointed elsewhere, too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fingerprint(Option<[i128; 5]>);

impl Fingerprint {
    pub(super) fn of(path: &Path) -> Self {
        Self(std::fs::metadata(path).ok().map(|file| {
            let nanos =
                |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
            [
                file.dev().into(),
                file.ino().into(),
                file.size().into(),
                nanos(file.mtime(), file.mtime_nsec()),
                nanos(file.ctime(), file.ctime_nsec()),
            ]
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_a_longer_one_and_none_look_different() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut seen = vec![Fingerprint::of(&path)];
        std::fs::write(&path, "one").unwrap();
        seen.push(Fingerprint::of(&path));
        assert_eq!(seen[1], Fingerprint::of(&path));
        std::fs::write(&path, "three").unwrap();
        seen.push(Fingerprint::of(&path));
        let other = dir.path().join("other");
        std::fs::write(&other, "three").unwrap();
        std::fs::rename(&other, &path).unwrap();
        seen.push(Fingerprint::of(&path));
        for (at, one) in seen.iter().enumerate() {
            assert!(!seen[at + 1..].contains(one), "{at}");
        }
    }
}
