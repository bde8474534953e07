//! What was said for one host so far. The first value of a keyword stays; lists grow.

use std::time::Duration;

use super::source::{Notice, Source, Sourced};
use crate::tunnel::spec::{
    AddKeysToAgent, AddressFamily, RekeyLimit, StrictHostKey, UpdateHostKeys,
};

/// A setting that may not have been said.
pub(super) type Said<T> = Option<Sourced<T>>;

/// How the host is reached, when not directly. `ProxyJump` and `ProxyCommand` exclude each other:
/// the first of both counts, but for `ProxyJump none`, which says nothing of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proxy {
    /// `ProxyJump`, first server first.
    Jump(Vec<String>),
    /// `ProxyCommand`.
    Command(String),
    /// `ProxyJump none`; a `ProxyCommand` may still follow.
    NoJump,
    /// `ProxyCommand none`.
    NoCommand,
}

/// Every keyword that is honoured, as it was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) host_name: Said<String>,
    pub(super) user: Said<String>,
    pub(super) port: Said<u16>,
    pub(super) identity_files: Vec<Sourced<String>>,
    pub(super) identities_only: Said<bool>,
    pub(super) identity_agent: Said<String>,
    pub(super) certificate_files: Vec<Sourced<String>>,
    pub(super) user_known_hosts: Said<Vec<String>>,
    pub(super) global_known_hosts: Said<Vec<String>>,
    pub(super) revoked_host_keys: Said<Vec<String>>,
    pub(super) host_key_alias: Said<String>,
    pub(super) strict_host_key: Said<StrictHostKey>,
    pub(super) hash_known_hosts: Said<bool>,
    pub(super) check_host_ip: Said<bool>,
    pub(super) verify_host_key_dns: Said<bool>,
    pub(super) update_host_keys: Said<UpdateHostKeys>,
    pub(super) host_key_algorithms: Said<String>,
    pub(super) ca_signature_algorithms: Said<String>,
    pub(super) required_rsa_size: Said<u32>,
    pub(super) kex: Said<String>,
    pub(super) ciphers: Said<String>,
    pub(super) macs: Said<String>,
    pub(super) rekey_limit: Said<RekeyLimit>,
    pub(super) compression: Said<bool>,
    pub(super) connection_attempts: Said<u32>,
    pub(super) proxy: Said<Proxy>,
    pub(super) proxy_use_fdpass: Said<bool>,
    pub(super) alive_interval: Said<Duration>,
    pub(super) alive_count_max: Said<u32>,
    pub(super) connect_timeout: Said<Duration>,
    pub(super) tcp_keepalive: Said<bool>,
    pub(super) address_family: Said<AddressFamily>,
    pub(super) bind_address: Said<String>,
    pub(super) preferred_authentications: Said<String>,
    pub(super) public_key: Said<bool>,
    pub(super) keyboard_interactive: Said<bool>,
    pub(super) password: Said<bool>,
    pub(super) pubkey_algorithms: Said<String>,
    pub(super) add_keys_to_agent: Said<AddKeysToAgent>,
    pub(super) password_prompts: Said<u32>,
    pub(super) batch_mode: Said<bool>,
    pub(super) exit_on_forward_failure: Said<bool>,
    pub(super) stream_local_bind_unlink: Said<bool>,
    pub(super) stream_local_bind_mask: Said<u32>,
    pub(super) local_forwards: Vec<Sourced<Vec<String>>>,
    pub(super) clear_all_forwardings: Said<bool>,
    pub(super) ignore_unknown: Said<Vec<String>>,
    pub(super) notices: Vec<Notice>,
    /// A `Host` line has the name itself, not only a pattern that fits it.
    pub(super) is_named: bool,
}

impl Options {
    /// Tells the user once about a keyword that is not applied.
    pub(super) fn notice(&mut self, keyword: &str, text: &str, source: &Source) {
        let told = self
            .notices
            .iter()
            .any(|notice| notice.keyword.eq_ignore_ascii_case(keyword));
        if !told {
            self.notices.push(Notice {
                keyword: crate::layer::printable(keyword, 64),
                text: text.to_owned(),
                source: source.clone(),
            });
        }
    }
}

/// Keeps `value` unless there is one already.
pub(super) fn first<T>(slot: &mut Said<T>, value: T, source: &Source) {
    if slot.is_none() {
        *slot = Some(Sourced {
            value,
            source: source.clone(),
        });
    }
}

/// Adds `value` unless the list has it already.
pub(super) fn add<T: PartialEq>(list: &mut Vec<Sourced<T>>, value: T, source: &Source) {
    if list.iter().all(|said| said.value != value) {
        list.push(Sourced {
            value,
            source: source.clone(),
        });
    }
}
