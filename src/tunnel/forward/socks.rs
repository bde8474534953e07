//! SOCKS 4, 4a and 5 for local programs (`-D`): they name the far end of each connection themselves.
//! CONNECT only, without a login; who may connect is decided by user id, as for every local end.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::layer::{Layer, LayerError, is_unsafe_to_show};
use crate::tunnel::spec::RemoteEnd;

/// How long a program may take to say where it wants to go.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest user id and name in a request of version 4.
const MAX_TEXT: usize = 255;

const CONNECT: u8 = 1;
const NO_LOGIN: u8 = 0;
const NO_METHOD: u8 = 0xff;

/// Why a request was turned down.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocksError {
    #[error("the program spoke no SOCKS (first byte {0:#04x})")]
    NotSocks(u8),
    #[error("the program insists on a login")]
    Login,
    #[error("the program asked for command {0}, and only CONNECT is there")]
    Command(u8),
    #[error("the program used address type {0}")]
    AddressType(u8),
    #[error("the program named a host that no host is called")]
    Name,
    #[error("the program went away: {0}")]
    Gone(#[from] io::Error),
}

/// Which version a program speaks, for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Four,
    Five,
}

/// Reads a request and refuses what is not offered; a good one is to be answered with [`answer`].
pub(super) async fn request<S>(stream: &mut S) -> Result<(Version, RemoteEnd), SocksError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match stream.read_u8().await? {
        4 => request_4(stream).await.map(|end| (Version::Four, end)),
        5 => request_5(stream).await.map(|end| (Version::Five, end)),
        other => Err(SocksError::NotSocks(other)),
    }
}

async fn request_5<S>(stream: &mut S) -> Result<RemoteEnd, SocksError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let count = stream.read_u8().await?;
    let mut methods = vec![0; usize::from(count)];
    stream.read_exact(&mut methods).await?;
    if !methods.contains(&NO_LOGIN) {
        stream.write_all(&[5, NO_METHOD]).await?;
        return Err(SocksError::Login);
    }
    stream.write_all(&[5, NO_LOGIN]).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [version, command, _, address_type] = head;
    if version != 5 {
        return Err(SocksError::NotSocks(version));
    }
    // The address is read first: what is left unread would turn the answer into a reset.
    let host = match address_type {
        1 => Some(Ipv4Addr::from_bits(stream.read_u32().await?).to_string()),
        4 => Some(Ipv6Addr::from_bits(stream.read_u128().await?).to_string()),
        3 => {
            let length = stream.read_u8().await?;
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name).await?;
            host_name(name)
        }
        other => {
            refuse(stream, Version::Five, 8).await?;
            return Err(SocksError::AddressType(other));
        }
    };
    let port = stream.read_u16().await?;
    if command != CONNECT {
        refuse(stream, Version::Five, 7).await?;
        return Err(SocksError::Command(command));
    }
    finish(stream, Version::Five, host, port).await
}

async fn request_4<S>(stream: &mut S) -> Result<RemoteEnd, SocksError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let command = stream.read_u8().await?;
    let port = stream.read_u16().await?;
    let address = Ipv4Addr::from_bits(stream.read_u32().await?);
    let user = text_4(stream).await?;
    // 0.0.0.x says that a name follows.
    let named = matches!(address.octets(), [0, 0, 0, last] if last != 0);
    let host = match named {
        true => text_4(stream).await?.and_then(host_name),
        false => Some(address.to_string()),
    };
    if command != CONNECT {
        refuse(stream, Version::Four, 0).await?;
        return Err(SocksError::Command(command));
    }
    finish(stream, Version::Four, user.and(host), port).await
}

/// A text that ends with a zero; `None` when it is too long.
async fn text_4<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    loop {
        match stream.read_u8().await? {
            0 => return Ok(Some(text)),
            _ if text.len() == MAX_TEXT => return Ok(None),
            byte => text.push(byte),
        }
    }
}

fn host_name(name: Vec<u8>) -> Option<String> {
    let name = String::from_utf8(name).ok()?;
    let odd = |c: char| c.is_whitespace() || is_unsafe_to_show(c) || c == '/';
    (!name.is_empty() && !name.starts_with('-') && !name.contains(odd)).then_some(name)
}

async fn finish<S: AsyncWrite + Unpin>(
    stream: &mut S,
    version: Version,
    host: Option<String>,
    port: u16,
) -> Result<RemoteEnd, SocksError> {
    match host {
        Some(host) if port != 0 => Ok(RemoteEnd::Tcp { host, port }),
        _ => {
            refuse(stream, version, 1).await?;
            Err(SocksError::Name)
        }
    }
}

/// Tells the program how its request went.
pub(super) async fn answer<S: AsyncWrite + Unpin>(
    stream: &mut S,
    version: Version,
    outcome: Result<(), &LayerError>,
) -> io::Result<()> {
    match outcome {
        Ok(()) => reply(stream, version, 0).await,
        Err(error) => refuse(stream, version, code(error)).await,
    }
}

/// The reply code of SOCKS 5 for a failure.
fn code(error: &LayerError) -> u8 {
    let words = error.peer_text.to_ascii_lowercase();
    match error.layer {
        Layer::Forward => 2,
        Layer::Port if words.contains("network is unreachable") => 3,
        Layer::Port if words.contains("refused") => 5,
        Layer::Port => 4,
        _ => 1,
    }
}

async fn refuse<S: AsyncWrite + Unpin>(
    stream: &mut S,
    version: Version,
    code: u8,
) -> io::Result<()> {
    reply(stream, version, code.max(1)).await?;
    stream.shutdown().await
}

async fn reply<S: AsyncWrite + Unpin>(
    stream: &mut S,
    version: Version,
    code: u8,
) -> io::Result<()> {
    match version {
        Version::Five => stream.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await,
        Version::Four => {
            let code = if code == 0 { 0x5a } else { 0x5b };
            stream.write_all(&[0, code, 0, 0, 0, 0, 0, 0]).await
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a program that says `said` gets, and what was made of it.
    async fn talk(said: &[u8]) -> (Result<(Version, RemoteEnd), SocksError>, Vec<u8>) {
        let (mut ours, mut theirs) = tokio::io::duplex(4096);
        theirs.write_all(said).await.unwrap();
        theirs.shutdown().await.unwrap();
        let asked = request(&mut ours).await;
        drop(ours);
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.unwrap();
        (asked, heard)
    }

    fn end(host: &str, port: u16) -> RemoteEnd {
        RemoteEnd::Tcp {
            host: host.into(),
            port,
        }
    }

    #[tokio::test]
    async fn every_kind_of_address_is_read() {
        let mut named = vec![5, 1, 0, 5, 1, 0, 3, 2];
        named.extend(b"db\x15\x38");
        let mut six = vec![5, 2, 2, 0, 5, 1, 0, 4];
        six.extend([0; 15]);
        six.extend([1, 0, 80]);
        let four_a = b"\x04\x01\x00\x50\x00\x00\x00\x01me\x00example\x00";
        for (said, version, wanted) in [
            (
                vec![5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0, 80],
                Version::Five,
                end("127.0.0.1", 80),
            ),
            (named, Version::Five, end("db", 5432)),
            (six, Version::Five, end("::1", 80)),
            (
                vec![4, 1, 0, 80, 10, 0, 0, 1, 0],
                Version::Four,
                end("10.0.0.1", 80),
            ),
            (four_a.to_vec(), Version::Four, end("example", 80)),
        ] {
            let (asked, _) = talk(&said).await;
            assert_eq!(asked.unwrap(), (version, wanted), "{said:?}");
        }
    }

    #[tokio::test]
    async fn what_is_not_offered_is_refused_with_its_code() {
        let greeted = |code: u8| vec![5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0];
        for (said, heard) in [
            // A login is insisted on.
            (vec![5, 1, 2], vec![5, 0xff]),
            // BIND and UDP ASSOCIATE.
            (vec![5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 1, 0, 80], greeted(7)),
            (vec![5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0], greeted(7)),
            // An unknown kind of address, a name that is none, and no port.
            (vec![5, 1, 0, 5, 1, 0, 9], greeted(8)),
            (vec![5, 1, 0, 5, 1, 0, 3, 2, b'-', b'x', 0, 80], greeted(1)),
            (vec![5, 1, 0, 5, 1, 0, 3, 0, 0, 80], greeted(1)),
            (vec![5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0, 0], greeted(1)),
            (
                vec![4, 2, 0, 80, 10, 0, 0, 1, 0],
                vec![0, 0x5b, 0, 0, 0, 0, 0, 0],
            ),
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![]),
        ] {
            let (asked, got) = talk(&said).await;
            assert!(asked.is_err(), "{said:?}");
            assert_eq!(got, heard, "{said:?}");
        }
    }

    #[tokio::test]
    async fn a_failure_is_told_with_the_code_of_its_layer() {
        let port = |words: &str| LayerError::new(Layer::Port, "no").peer(words);
        for (error, wanted) in [
            (port("Connection refused"), 5),
            (port("Network is unreachable"), 3),
            (port("Name or service not known"), 4),
            (LayerError::new(Layer::Forward, "forbidden"), 2),
            (LayerError::new(Layer::Ssh, "down"), 1),
        ] {
            assert_eq!(code(&error), wanted, "{}", error.peer_text);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_an_error(
            start in prop_oneof![Just(vec![]), Just(vec![4, 1]), Just(vec![5, 1, 0, 5, 1, 0])],
            rest in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let said = [start, rest].concat();
            let (asked, heard) = runtime.block_on(talk(&said));
            prop_assert!(heard.len() <= 12);
            if let Ok((_, RemoteEnd::Tcp { host, port })) = asked {
                prop_assert!(!host.is_empty() && host.len() <= MAX_TEXT && port != 0);
            }
        }
    }
}
