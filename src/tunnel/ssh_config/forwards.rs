//! `LocalForward` lines, read as suggestions.

use super::expand::Tokens;
use crate::tunnel::spec::SuggestedForward;

/// One end of a forward.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// A socket, by its path.
    Path(String),
    /// A host, if one was written, and a port.
    Port(Option<String>, u16),
}

/// Reads `[bind:]port host:port`, in one word or in two; either side may be the path of a socket.
pub(super) fn read(words: &[String], tokens: &Tokens<'_>) -> Result<Forward, String> {
    let (listen, to) = match words {
        [both] => {
            let fields = fields(both).ok_or_else(wanted)?;
            let (listen, to) = match fields.as_slice() {
                [port, host, to] => (port_end(None, port)?, far_end(host, to)?),
                [bind, port, host, to] => (port_end(Some(bind), port)?, far_end(host, to)?),
                _ => return Err(wanted()),
            };
            (listen, to)
        }
        [listen, to] => {
            let listen = match fields(listen).as_deref() {
                Some(_) if listen.contains('/') => End::Path(path(listen, tokens)?),
                Some([port]) => port_end(None, port)?,
                Some([bind, port]) => port_end(Some(bind), port)?,
                _ => return Err(wanted()),
            };
            let to = match fields(to).as_deref() {
                Some(_) if to.contains('/') => End::Path(path(to, tokens)?),
                Some([host, port]) => far_end(host, port)?,
                _ => return Err(wanted()),
            };
            (listen, to)
        }
        _ => return Err(wanted()),
    };
    Ok(Forward { listen, to })
}

/// A `LocalForward` that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forward {
    listen: End,
    to: End,
}

impl Forward {
    /// As `ssh -G` writes it.
    pub(super) fn as_ssh_shows_it(&self) -> String {
        let end = |end: &End| match end {
            End::Path(path) => path.clone(),
            End::Port(None, port) => port.to_string(),
            End::Port(Some(host), port) => format!("[{host}]:{port}"),
        };
        format!("{} {}", end(&self.listen), end(&self.to))
    }

    /// As `--listen` takes it.
    pub(super) fn suggestion(&self, at: String) -> SuggestedForward {
        let host = |host: &str| match host {
            // Every address of this machine.
            "" | "*" => "0.0.0.0".to_owned(),
            host if host.contains(':') => format!("[{host}]"),
            host => host.to_owned(),
        };
        let listen = match &self.listen {
            End::Path(path) => path.clone(),
            End::Port(None, port) => port.to_string(),
            End::Port(Some(bind), port) => format!("{}:{port}", host(bind)),
        };
        let to = match &self.to {
            End::Path(path) => path.clone(),
            End::Port(to, port) => format!("{}:{port}", host(to.as_deref().unwrap_or("127.0.0.1"))),
        };
        SuggestedForward {
            listen: format!("{listen}:{to}"),
            at,
        }
    }
}

fn wanted() -> String {
    "LocalForward must be [ADDRESS:]PORT HOST:PORT, or the paths of sockets".to_owned()
}

fn path(text: &str, tokens: &Tokens<'_>) -> Result<String, String> {
    Ok(tokens.path(text)?.display().to_string())
}

fn port_end(bind: Option<&str>, port: &str) -> Result<End, String> {
    // Port 0 lets the system choose.
    let port = port.parse().map_err(|_| wanted())?;
    Ok(End::Port(bind.map(str::to_owned), port))
}

fn far_end(host: &str, port: &str) -> Result<End, String> {
    match port.parse() {
        Ok(port) if port > 0 && !host.is_empty() => Ok(End::Port(Some(host.to_owned()), port)),
        _ => Err(wanted()),
    }
}

/// Splits at colons; an address in brackets is one field. ssh takes a slash for a colon here.
fn fields(text: &str) -> Option<Vec<&str>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        if let Some(inside) = rest.strip_prefix('[') {
            let (address, after) = inside.split_once(']')?;
            fields.push(address);
            match after.strip_prefix(':') {
                Some(after) => rest = after,
                None if after.is_empty() => return Some(fields),
                None => return None,
            }
            continue;
        }
        match rest.split_once(':') {
            Some((field, after)) => {
                fields.push(field);
                rest = after;
            }
            None => {
                fields.push(rest);
                return Some(fields);
            }
        }
    }
}
