//! The algorithms that we can speak, and those that we offer without being asked, by their SSH names.
//!
//! What is spoken and not offered is old: CBC, SHA-1, small groups. It takes a `+name` in ssh_config.

/// The names of one kind of algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithms {
    /// The option of ssh_config that chooses among them.
    pub keyword: &'static str,
    /// Offered when nothing was said, best first.
    pub default: &'static [&'static str],
    /// Offered only when asked for.
    pub on_request: &'static [&'static str],
}

impl Algorithms {
    /// Everything that is spoken, defaults first.
    pub fn all(&self) -> impl Iterator<Item = &'static str> {
        self.default.iter().chain(self.on_request).copied()
    }
}

/// `Ciphers`. AES-GCM is several times faster than ChaCha20 where the processor knows AES, and unlike
/// it stands without strict key exchange too.
pub fn ciphers() -> Algorithms {
    Algorithms {
        keyword: "Ciphers",
        default: if processor_knows_aes() {
            &AES_FIRST
        } else {
            &CHACHA_FIRST
        },
        on_request: &["aes256-cbc", "aes192-cbc", "aes128-cbc"],
    }
}

const AES_FIRST: [&str; 6] = [
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
];

const CHACHA_FIRST: [&str; 6] = [
    "chacha20-poly1305@openssh.com",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
];

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn processor_knows_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn processor_knows_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn processor_knows_aes() -> bool {
    false
}

/// `KexAlgorithms`: post-quantum first, elliptic curves before the slow groups.
pub const KEX: Algorithms = Algorithms {
    keyword: "KexAlgorithms",
    default: &[
        "mlkem768x25519-sha256",
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group18-sha512",
        "diffie-hellman-group14-sha256",
    ],
    on_request: &[
        "diffie-hellman-group15-sha512",
        "diffie-hellman-group17-sha512",
        "diffie-hellman-group-exchange-sha1",
        "diffie-hellman-group14-sha1",
        "diffie-hellman-group1-sha1",
    ],
};

/// `MACs`.
pub const MACS: Algorithms = Algorithms {
    keyword: "MACs",
    default: &[
        "hmac-sha2-256-etm@openssh.com",
        "hmac-sha2-512-etm@openssh.com",
        "hmac-sha2-256",
        "hmac-sha2-512",
    ],
    on_request: &["hmac-sha1-etm@openssh.com", "hmac-sha1"],
};

/// `HostKeyAlgorithms`.
pub const HOST_KEYS: Algorithms = Algorithms {
    keyword: "HostKeyAlgorithms",
    default: &[
        "ssh-ed25519-cert-v01@openssh.com",
        "ecdsa-sha2-nistp256-cert-v01@openssh.com",
        "ecdsa-sha2-nistp384-cert-v01@openssh.com",
        "ecdsa-sha2-nistp521-cert-v01@openssh.com",
        "rsa-sha2-512-cert-v01@openssh.com",
        "rsa-sha2-256-cert-v01@openssh.com",
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "rsa-sha2-512",
        "rsa-sha2-256",
    ],
    on_request: &[],
};

/// `PubkeyAcceptedAlgorithms`: what we sign in with. `sk-` keys sign through an agent.
pub const PUBLIC_KEYS: Algorithms = Algorithms {
    keyword: "PubkeyAcceptedAlgorithms",
    default: &[
        "ssh-ed25519-cert-v01@openssh.com",
        "ecdsa-sha2-nistp256-cert-v01@openssh.com",
        "ecdsa-sha2-nistp384-cert-v01@openssh.com",
        "ecdsa-sha2-nistp521-cert-v01@openssh.com",
        "sk-ssh-ed25519-cert-v01@openssh.com",
        "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
        "rsa-sha2-512-cert-v01@openssh.com",
        "rsa-sha2-256-cert-v01@openssh.com",
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
        "rsa-sha2-512",
        "rsa-sha2-256",
    ],
    on_request: &["ssh-rsa-cert-v01@openssh.com", "ssh-rsa"],
};

/// `CASignatureAlgorithms`: how an authority may have signed a certificate.
pub const CA_SIGNATURES: Algorithms = Algorithms {
    keyword: "CASignatureAlgorithms",
    default: &[
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
        "rsa-sha2-512",
        "rsa-sha2-256",
    ],
    on_request: &["ssh-rsa"],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn russh_speaks_every_name_of_the_connection() {
        for name in ciphers().all() {
            assert!(russh::cipher::Name::try_from(name).is_ok(), "{name}");
        }
        for name in KEX.all() {
            assert!(russh::kex::Name::try_from(name).is_ok(), "{name}");
        }
        for name in MACS.all() {
            assert!(russh::mac::Name::try_from(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn nothing_old_is_offered_unasked() {
        for kind in [ciphers(), KEX, MACS, HOST_KEYS, PUBLIC_KEYS, CA_SIGNATURES] {
            for name in kind.default {
                assert!(!name.contains("cbc") && !name.ends_with("sha1"), "{name}");
                assert!(
                    !name.contains("sha1-") && !name.starts_with("ssh-rsa"),
                    "{name}"
                );
            }
        }
    }
}
