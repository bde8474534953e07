//! Comparing what somebody shows with a secret: everything in the daemon that does so comes here.
//!
//! [`Secret::matches`] takes a time that depends on neither text. A compare that stops at the first
//! difference would tell, guess by guess, how much of a guess is right.

use std::sync::atomic::{AtomicU64, Ordering};

use clawline::secret::Secret;

use crate::policy::Policy;

/// How often secrets were compared, and how.
#[derive(Debug, Default)]
pub struct Compares {
    constant_time: AtomicU64,
    early_exit: AtomicU64,
}

impl Compares {
    /// Compares whose time told nothing.
    pub fn constant_time(&self) -> u64 {
        self.constant_time.load(Ordering::Relaxed)
    }

    /// Compares that ended at the first difference.
    pub fn early_exit(&self) -> u64 {
        self.early_exit.load(Ordering::Relaxed)
    }
}

/// Whether this is the secret.
pub(crate) fn is_same(policy: &Policy, secret: &Secret, shown: &str) -> bool {
    let compares = &policy.compares;
    if policy.constant_time {
        compares.constant_time.fetch_add(1, Ordering::Relaxed);
        secret.matches(shown)
    } else {
        compares.early_exit.fetch_add(1, Ordering::Relaxed);
        secret.expose() == shown
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Every file below `dir` with Rust in it.
    fn sources(dir: &Path, into: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, into);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                into.push((path.display().to_string(), text));
            }
        }
    }

    #[test]
    fn s20_nothing_in_the_daemon_compares_an_opened_secret_but_this_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        sources(&root, &mut files);
        assert!(files.len() > 50, "the sources were read");
        let early = |text: &str| {
            let text: String = text.split_whitespace().collect();
            ["expose()==", "expose()!=", "==secret", ".expose().eq("]
                .iter()
                .any(|form| text.contains(form))
        };
        assert!(early("secret.expose() == shown"));
        for (path, text) in &files {
            let own = path.ends_with("auth/compare.rs");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            assert_eq!(early(code), own, "{path}");
            let direct = code.contains("ecret.matches(") || code.contains("right.matches(");
            assert_eq!(direct, own, "{path} compares past this file");
        }
    }
}
