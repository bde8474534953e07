//! Is this server the one that was met before? Our own reading of known_hosts, with the outcomes of
//! OpenSSH.
//!
//! [`KnownHosts::load`] reads the files, [`KnownHosts::check`] gives a [`Verdict`], [`refusal`] puts
//! it into words, and [`learn`] stores a key that was accepted.

mod fingerprint;
mod known_hosts;
mod learn;
mod line;
mod name;
mod verdict;

pub use fingerprint::{algorithm_word, fingerprint, randomart};
pub use known_hosts::{KnownHosts, KnownHostsError, MAX_FILE_BYTES, SUPPORTED_HOST_KEYS};
pub use learn::{LearnError, learn};
pub use name::HostName;
pub use verdict::{KnownKey, Verdict, refusal};
