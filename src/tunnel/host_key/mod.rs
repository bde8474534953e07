//! Is this server the one that was met before? Our own reading of known_hosts, with the outcomes of
//! OpenSSH.
//!
//! [`KnownHosts::load`] reads the files, [`KnownHosts::check`] gives a [`Verdict`], [`refusal`] puts
//! it into words, and [`learn`] stores a key that was accepted.

mod certificate;
mod check;
mod edit;
mod fingerprint;
mod known_hosts;
mod krl;
mod learn;
mod line;
mod name;
mod offer;
mod order;
mod revoked;
mod rotation;
mod store;
mod verdict;

pub use certificate::{CertificateError, CertificateRules};
pub use edit::{Edit, EditError, edit};
pub use fingerprint::{algorithm_word, fingerprint, randomart};
pub use known_hosts::{KnownHosts, KnownHostsError, MAX_FILE_BYTES, Recorded};
pub use learn::{LearnError, learn};
pub use name::HostName;
pub use order::{HostKeyOffer, SUPPORTED_HOST_KEYS};
pub use rotation::{Rotation, RotationError, RotationPlan};
pub use verdict::{KnownKey, Verdict, refusal};
