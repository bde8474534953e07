//! Who holds a port of the far side: any local user may have bound it, so the kernel's socket table is
//! asked before a token that was found goes there (SECURITY S65).

use std::net::{IpAddr, Ipv6Addr};

use clawline::client::dial::Credentials;
use clawline::peer;

/// A superuser's listener is as good as our own: it could read our files anyway.
const ROOT: u32 = 0;

/// One socket that waits for connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener {
    /// The address it is bound to.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its owner.
    pub uid: u32,
}

/// What listens there, as far as the system tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listeners {
    /// The user id that we are there.
    pub own: Option<u32>,
    /// `None` where the system does not tell.
    pub sockets: Option<Vec<Listener>>,
}

/// Who holds a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Nobody: connecting fails.
    Nobody,
    /// We, or root.
    Trusted,
    /// The system does not tell.
    Unknown,
    /// Another user.
    Other(u32),
}

impl Listeners {
    /// Reads the lines `ADDRESS:PORT UID`, in the hexadecimal of `/proc/net/tcp`.
    pub fn parse(text: &str) -> Option<Vec<Listener>> {
        let line = |line: &str| {
            let (address, uid) = line.split_once(' ')?;
            let address = peer::parse_address(address)?;
            Some(Listener {
                ip: address.ip(),
                port: address.port(),
                uid: uid.trim().parse().ok()?,
            })
        };
        let sockets: Vec<Listener> = text.lines().filter_map(line).collect();
        (!sockets.is_empty()).then_some(sockets)
    }

    /// Who takes connections to `host` and `port`.
    pub fn holder(&self, host: &str, port: u16) -> Holder {
        let Some(sockets) = &self.sockets else {
            return Holder::Unknown;
        };
        let mut holder = Holder::Nobody;
        for socket in sockets {
            if socket.port != port || !accepts(socket.ip, host) {
                continue;
            }
            if socket.uid == ROOT || self.own == Some(socket.uid) {
                holder = Holder::Trusted;
            } else if self.own.is_none() {
                return Holder::Unknown;
            } else {
                return Holder::Other(socket.uid);
            }
        }
        holder
    }

    /// What of `credentials` may be shown at a port of `host`, and what is worth saying about that:
    /// nothing goes to another user, who may have bound the port while the gateway is away. `place` names
    /// the machine in notes, e.g. ` on desktop`.
    pub fn permit(
        &self,
        credentials: &Credentials,
        host: &str,
        port: u16,
        place: &str,
    ) -> (Credentials, Option<String>) {
        if credentials.is_empty() {
            return (Credentials::default(), None);
        }
        match self.holder(host, port) {
            // Where nobody listens, connecting fails.
            Holder::Trusted | Holder::Nobody => (credentials.clone(), None),
            Holder::Unknown => {
                let note = format!("who listens on port {port}{place} cannot be told");
                (credentials.clone(), Some(note))
            }
            Holder::Other(uid) => {
                let note = format!(
                    "another user (uid {uid}) listens on port {port}{place}, who is not shown the \
                     token; --token shows one all the same"
                );
                (Credentials::default(), Some(note))
            }
        }
    }

    /// Whether something that may be a gateway of ours listens on a loopback port; `None` where the
    /// system does not tell.
    pub fn is_served(&self, port: u16) -> Option<bool> {
        self.sockets.as_ref()?;
        let holder = self.holder("127.0.0.1", port);
        Some(matches!(holder, Holder::Trusted | Holder::Unknown))
    }
}

/// True when a socket bound to `ip` takes connections to `host`.
fn accepts(ip: IpAddr, host: &str) -> bool {
    let v4 = match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_loopback() && ip.octets() == [127, 0, 0, 1],
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    let v6 = matches!(ip, IpAddr::V6(ip) if ip.is_unspecified() || ip == Ipv6Addr::LOCALHOST);
    match host {
        "127.0.0.1" => v4,
        "::1" => v6,
        // A name may lead to either.
        _ => v4 || v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_holder_of_a_port_is_told_by_address_and_owner() {
        let text = "0100007F:4965 1000\n0100007F:4966 1001\n00000000:0050 0\n\
                    00000000000000000000000001000000:4965 1001\n\
                    00000000000000000000000000000000:4967 1001\n0A00000A:4968 1001\nnoise\n";
        let listeners = Listeners {
            own: Some(1000),
            sockets: Listeners::parse(text),
        };
        for (host, port, holder) in [
            ("127.0.0.1", 0x4965, Holder::Trusted),
            ("::1", 0x4965, Holder::Other(1001)),
            ("localhost", 0x4965, Holder::Other(1001)),
            ("127.0.0.1", 0x4966, Holder::Other(1001)),
            ("127.0.0.1", 0x4967, Holder::Other(1001)),
            ("127.0.0.1", 0x50, Holder::Trusted),
            ("127.0.0.1", 0x4968, Holder::Nobody),
        ] {
            assert_eq!(listeners.holder(host, port), holder, "{host} {port:x}");
        }
        assert_eq!(Listeners::default().holder("::1", 1), Holder::Unknown);
    }
}
