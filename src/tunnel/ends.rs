//! The two ends of a forward as they are typed: `-L [NAME=][bind:]port[:host:port]`, `-D [bind:]port` and
//! `--remote host:port`. Either end may be the path of a socket.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::spec::{LocalEnd, RemoteEnd};
use crate::layer::{is_unsafe_to_show, printable};

/// Longest socket path that the system takes.
const MAX_SOCKET_PATH: usize = 107;
/// Longest name of a forward.
const MAX_NAME: usize = 32;
/// What a local end starts with where programs say by SOCKS where they want to go.
const SOCKS: &str = "socks:";

/// A local end, and its own far end when one was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenSpec {
    /// What the forward is called; the local end when nothing was said.
    pub name: Option<String>,
    /// Where other programs connect to.
    pub local: LocalEnd,
    /// Where it leads; `None` for the far end of the whole command.
    pub remote: Option<RemoteEnd>,
    /// Whether each program says by SOCKS where it wants to go.
    pub socks: bool,
}

/// Why an end was refused. Wrong usage, exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndError {
    /// Not the right number of parts.
    #[error("cannot read \"{0}\"")]
    Shape(String),
    /// Not a port.
    #[error("the port must be a number from {min} to 65535 (got \"{port}\")")]
    Port {
        /// What was typed.
        port: String,
        /// 0 where the system may choose.
        min: u16,
    },
    /// The local address is a name.
    #[error("a local end needs an IP address of this machine (got \"{0}\")")]
    Bind(String),
    /// The far host has characters that no host has.
    #[error("\"{0}\" is no host name")]
    Host(String),
    /// A socket path that the system would refuse.
    #[error("\"{0}\" is no usable path of a socket")]
    Path(String),
    /// A far end where each program names its own.
    #[error("a SOCKS end has no far end of its own (got \"{0}\")")]
    Socks(String),
}

impl EndError {
    /// What to do about it.
    pub fn next(&self) -> &'static str {
        match self {
            Self::Shape(_) | Self::Port { .. } => {
                "a local end is [NAME=][ADDRESS:]PORT[:FAR] or [NAME=]/PATH[:FAR], a far end HOST:PORT or /PATH"
            }
            Self::Bind(_) => "write 127.0.0.1:PORT, [::1]:PORT or only the port",
            Self::Host(_) => "write HOST:PORT, with an IPv6 address in brackets",
            Self::Path(_) => "use an absolute path of at most 107 bytes, without a colon",
            Self::Socks(_) => "write socks:[ADDRESS:]PORT or -D [ADDRESS:]PORT",
        }
    }
}

impl FromStr for ListenSpec {
    type Err = EndError;

    fn from_str(text: &str) -> Result<Self, EndError> {
        let (name, ends) = split_name(text);
        if let Some(local) = ends.strip_prefix(SOCKS) {
            return Ok(Self {
                name,
                ..parse_socks_end(local)?
            });
        }
        let (local, remote) = parse_ends(ends)?;
        Ok(Self {
            name,
            local,
            remote,
            socks: false,
        })
    }
}

/// Reads the local end of `-D`: `[bind:]port` or the path of a socket.
///
/// # Errors
/// [`EndError`].
pub fn parse_socks_end(text: &str) -> Result<ListenSpec, EndError> {
    match parse_ends(text)? {
        (local, None) => Ok(ListenSpec {
            name: None,
            local,
            remote: None,
            socks: true,
        }),
        (_, Some(_)) => Err(EndError::Socks(printable(text, 120))),
    }
}

/// `NAME=` in front, where it is a name.
fn split_name(text: &str) -> (Option<String>, &str) {
    let is_name = |name: &str| {
        // A path may start with a dot and have an equals sign in it.
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.len() <= MAX_NAME
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    match text.split_once('=') {
        Some((name, rest)) if is_name(name) => (Some(name.to_owned()), rest),
        _ => (None, text),
    }
}

/// A local end with or without its far end.
fn parse_ends(text: &str) -> Result<(LocalEnd, Option<RemoteEnd>), EndError> {
    let (path, far) = match text.split_once(':') {
        Some((path, far)) => (path, Some(far)),
        None => (text, None),
    };
    if path.contains('/') && path.starts_with(['/', '.', '~']) {
        let far = far.map(parse_remote_end).transpose()?;
        return Ok((LocalEnd::Unix(PathBuf::from(check_path(path)?)), far));
    }
    let shape = || EndError::Shape(printable(text, 120));
    // A socket at the far end is all that follows.
    let (text, socket) = match text.find(":/") {
        Some(at) => (&text[..at], Some(parse_remote_end(&text[at + 1..])?)),
        None => (text, None),
    };
    let parts = split(text).ok_or_else(shape)?;
    let (bind, port, remote) = match (parts.as_slice(), socket) {
        ([port], socket) => (None, *port, socket),
        ([bind, port], socket) => (Some(*bind), *port, socket),
        ([port, host, far_port], None) => (None, *port, Some(tcp(host, far_port)?)),
        ([bind, port, host, far_port], None) => (Some(*bind), *port, Some(tcp(host, far_port)?)),
        _ => return Err(shape()),
    };
    let address = match bind {
        None | Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some("*") => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(bind) => bind
            .parse()
            .map_err(|_| EndError::Bind(printable(bind, 80)))?,
    };
    let local = LocalEnd::Tcp(SocketAddr::new(address, parse_port(port, 0)?));
    Ok((local, remote))
}

/// Reads `host:port`, a port alone (loopback), or the absolute path of a socket.
///
/// # Errors
/// [`EndError`].
pub fn parse_remote_end(text: &str) -> Result<RemoteEnd, EndError> {
    if text.starts_with('/') {
        return Ok(RemoteEnd::Unix(check_path(text)?.to_owned()));
    }
    match split(text).as_deref() {
        Some([port]) => Ok(RemoteEnd::loopback(parse_port(port, 1)?)),
        Some([host, port]) => tcp(host, port),
        _ => Err(EndError::Shape(printable(text, 120))),
    }
}

/// Splits at colons; an address in brackets is one part.
fn split(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        if let Some(inner) = rest.strip_prefix('[') {
            let (address, after) = inner.split_once(']')?;
            parts.push(address);
            match after.strip_prefix(':') {
                Some(after) => rest = after,
                None if after.is_empty() => return Some(parts),
                None => return None,
            }
        } else {
            match rest.split_once(':') {
                Some((part, after)) => {
                    parts.push(part);
                    rest = after;
                }
                None => {
                    parts.push(rest);
                    return Some(parts);
                }
            }
        }
        if parts.len() > 4 {
            return None;
        }
    }
}

fn tcp(host: &str, port: &str) -> Result<RemoteEnd, EndError> {
    let odd = |c: char| c.is_whitespace() || is_unsafe_to_show(c) || "/[]".contains(c);
    if host.is_empty() || host.len() > 255 || host.starts_with('-') || host.contains(odd) {
        return Err(EndError::Host(printable(host, 120)));
    }
    Ok(RemoteEnd::Tcp {
        host: host.to_owned(),
        port: parse_port(port, 1)?,
    })
}

fn parse_port(text: &str, min: u16) -> Result<u16, EndError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port >= min => Ok(port),
        _ => Err(EndError::Port {
            port: printable(text, 40),
            min,
        }),
    }
}

fn check_path(text: &str) -> Result<&str, EndError> {
    if text.len() > MAX_SOCKET_PATH || text.chars().any(is_unsafe_to_show) || text.ends_with('/') {
        return Err(EndError::Path(printable(text, 120)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_dot_alone_is_neither_a_socket_nor_a_name() {
        for text in [".://:", "~:/run/far", ".:/x"] {
            assert!(text.parse::<ListenSpec>().is_err(), "{text}");
        }
        let odd = ".=.oo=/o/o".parse::<ListenSpec>().unwrap();
        assert_eq!(
            (odd.name, odd.local),
            (None, LocalEnd::Unix(".=.oo=/o/o".into()))
        );
        let near = "./x:/far".parse::<ListenSpec>().unwrap();
        assert_eq!(near.local, LocalEnd::Unix("./x".into()));
    }

    #[test]
    fn ends_are_read_as_ssh_reads_them() {
        let local = |text: &str| text.parse::<ListenSpec>().unwrap();
        assert_eq!(local("8080").local.to_string(), "127.0.0.1:8080");
        assert_eq!(local("[::1]:0").local.to_string(), "[::1]:0");
        assert_eq!(local("*:80").local.to_string(), "0.0.0.0:80");
        assert_eq!(
            local("/run/x.sock").local,
            LocalEnd::Unix("/run/x.sock".into())
        );
        let far = local("127.0.0.1:1:[fd00::1]:2");
        assert_eq!(
            far.remote.map(|r| r.to_string()).as_deref(),
            Some("[fd00::1]:2")
        );
        let far = local("8080:db:5432").remote.map(|r| r.to_string());
        assert_eq!(far.as_deref(), Some("db:5432"));
        for (text, near, far) in [
            ("8080:/run/x.sock", "127.0.0.1:8080", "/run/x.sock"),
            ("[::1]:8080:/run/x.sock", "[::1]:8080", "/run/x.sock"),
            ("/run/y.sock:/run/x.sock", "/run/y.sock", "/run/x.sock"),
            ("~/y.sock:db:5432", "~/y.sock", "db:5432"),
            ("/run/y.sock:18789", "/run/y.sock", "127.0.0.1:18789"),
        ] {
            let spec = local(text);
            assert_eq!(spec.local.to_string(), near, "{text}");
            assert_eq!(spec.remote.unwrap().to_string(), far, "{text}");
        }
        assert_eq!(
            parse_remote_end("19001").unwrap(),
            RemoteEnd::loopback(19001)
        );
        assert_eq!(
            parse_remote_end("/run/x").unwrap(),
            RemoteEnd::Unix("/run/x".into())
        );
    }

    #[test]
    fn a_forward_may_have_a_name_and_may_be_one_for_socks() {
        let spec: ListenSpec = "db=5432:db.internal:5432".parse().unwrap();
        assert_eq!(spec.name.as_deref(), Some("db"));
        assert_eq!(spec.remote.unwrap().to_string(), "db.internal:5432");
        let spec: ListenSpec = "web=socks:1080".parse().unwrap();
        assert_eq!((spec.name.as_deref(), spec.socks), (Some("web"), true));
        let spec: ListenSpec = "socks:[::1]:1080".parse().unwrap();
        assert_eq!((spec.name.as_deref(), spec.socks), (None, true));
        assert_eq!(parse_socks_end("[::1]:1080").unwrap(), spec);
        for text in ["socks:1080:db:5432", "socks:", "=80", "a b=80", "x=y=80"] {
            assert!(text.parse::<ListenSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_end_is_refused_with_words() {
        for text in [
            "",
            "x",
            "host:80",
            "1:2:3:4:5",
            "70000",
            "[::1",
            "80:-x:1",
            "80:h:0",
            "80:h:1:/run/x",
            "/run/x:",
            "/run/x:a:b:c",
        ] {
            assert!(text.parse::<ListenSpec>().is_err(), "{text}");
        }
        for text in ["", "host", "h:0", "h:1:2", "a b:1", "/x\u{1b}"] {
            assert!(parse_remote_end(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_end_or_an_error(text in any::<String>()) {
            let _ = text.parse::<ListenSpec>();
            if let Ok(end) = parse_remote_end(&text) {
                prop_assert_eq!(parse_remote_end(&end.to_string()), Ok(end));
            }
            let _ = parse_socks_end(&text);
        }
    }
}
