//! The files of a sign-in: a person who waits for one to be renewed need not say when it was.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::tunnel::spec::TunnelSpec;

use super::candidates;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The keys and certificates of a tunnel, as they were at one moment.
#[derive(Debug, Clone)]
pub(crate) struct SignInFiles {
    files: Vec<(PathBuf, Option<Looks>)>,
    /// When they are looked at again.
    due: Option<Instant>,
}

/// What tells one version of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Looks {
    changed: Option<SystemTime>,
    length: u64,
    #[cfg(unix)]
    inode: u64,
    #[cfg(unix)]
    mode: u32,
}

impl SignInFiles {
    /// Looks at the files of every hop, those that do not exist too. Blocking.
    pub(crate) fn look(spec: &TunnelSpec) -> Self {
        let mut paths: Vec<PathBuf> = Vec::new();
        for hop in &spec.hops {
            paths.extend(hop.identity_files.iter().map(|file| file.path.clone()));
            let certificates = candidates::certificate_files(hop);
            paths.extend(certificates.into_iter().map(|(path, _)| path));
        }
        paths.sort();
        paths.dedup();
        Self {
            files: paths.into_iter().map(seen).collect(),
            due: None,
        }
    }

    /// Returns when one of them has changed since. Cancel safe: a call that is dropped and made again
    /// looks when the first one would have looked.
    pub(crate) async fn changed(&mut self) {
        loop {
            let due = *self.due.get_or_insert_with(|| Instant::now() + LOOK);
            tokio::time::sleep_until(due).await;
            let files = self.files.iter();
            let paths: Vec<PathBuf> = files.map(|(path, _)| path.clone()).collect();
            let now = tokio::task::spawn_blocking(move || paths.into_iter().map(seen).collect());
            let now: Result<Vec<_>, _> = now.await;
            if now.is_ok_and(|now| now != self.files) {
                return;
            }
            self.due = None;
        }
    }
}

fn seen(path: PathBuf) -> (PathBuf, Option<Looks>) {
    let looks = std::fs::metadata(&path).ok().map(|meta| {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Looks {
            changed: meta.modified().ok(),
            length: meta.len(),
            #[cfg(unix)]
            inode: meta.ino(),
            #[cfg(unix)]
            mode: meta.mode(),
        }
    });
    (path, looks)
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::tunnel::spec::{HopSpec, IdentityFile};

    #[tokio::test]
    async fn a_certificate_that_appears_beside_its_key_is_noticed() {
        let home = tempfile::TempDir::new().unwrap();
        let key = home.path().join("id");
        std::fs::write(&key, "key").unwrap();
        let mut hop = HopSpec::bare("desktop", 22, "me");
        hop.identity_files = vec![IdentityFile {
            path: key.clone(),
            named: true,
        }];
        let spec = TunnelSpec {
            target: "desktop".into(),
            hops: vec![hop],
            local_forwards: Vec::new(),
        };
        let mut files = SignInFiles::look(&spec);
        let early = timeout(LOOK * 2, files.changed());
        assert!(early.await.is_err());
        std::fs::write(home.path().join("id-cert.pub"), "renewed").unwrap();
        timeout(LOOK * 5, files.changed()).await.unwrap();
    }
}
