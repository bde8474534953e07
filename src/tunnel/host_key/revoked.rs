//! Keys that no host may use: the files of `RevokedHostKeys`, as lists of public keys or as binary lists.

use std::path::Path;
use std::sync::Arc;

use super::krl::{self, Krl};
use super::line::{RawKey, lines};
use super::offer::Blobs;

/// What stands in one file.
#[derive(Debug, Clone)]
enum Content {
    /// Public keys with their line numbers; a line that cannot be read hides what it revokes.
    List(Vec<(usize, Result<RawKey, &'static str>)>),
    Binary(Krl),
}

/// Every file of `RevokedHostKeys`.
#[derive(Debug, Clone, Default)]
pub(super) struct Revocations(Vec<(Arc<Path>, Content)>);

/// What the files say against a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// It is revoked there; binary lists have no lines.
    Revoked(Arc<Path>, Option<usize>),
    /// A line before anything else was found cannot be read.
    Broken(Arc<Path>, usize, &'static str),
}

impl Revocations {
    /// Adds a file. An error says what is wrong with a binary list.
    pub(super) fn add(&mut self, file: &Path, bytes: &[u8]) -> Result<(), &'static str> {
        let content = if bytes.starts_with(krl::MAGIC) {
            Content::Binary(Krl::parse(bytes)?)
        } else {
            Content::List(
                lines(bytes)
                    .filter(|(_, text)| {
                        let text = text.trim_start();
                        !text.is_empty() && !text.starts_with('#')
                    })
                    .map(|(number, text)| (number, RawKey::parse(text.trim())))
                    .collect(),
            )
        };
        self.0.push((file.into(), content));
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Looks for the key, and for its certificate and the authority that signed it.
    pub(super) fn find(&self, shown: &Blobs) -> Option<Finding> {
        self.0.iter().find_map(|(file, content)| match content {
            Content::List(keys) => keys.iter().find_map(|(number, key)| match key {
                Err(why) => Some(Finding::Broken(file.clone(), *number, why)),
                Ok(key) => shown
                    .includes(key.bare())
                    .then(|| Finding::Revoked(file.clone(), Some(*number))),
            }),
            Content::Binary(list) => {
                let certificate = shown.certificate.as_ref().is_some_and(|certificate| {
                    list.has_key(&certificate.authority)
                        || list.has_certificate(
                            &certificate.authority,
                            certificate.serial,
                            &certificate.id,
                        )
                });
                (certificate || list.has_key(&shown.key))
                    .then(|| Finding::Revoked(file.clone(), None))
            }
        })
    }
}
