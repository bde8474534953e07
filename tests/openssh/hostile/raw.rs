//! Before any key is agreed on: a scripted peer on a TCP port.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{DEADLINE, Home, Seen, assert_bounded, look_at, ordinary_size};
use crate::support::BUSY;
use crate::support::figures::figure;

/// Makes a part of what a peer sends.
type Piece = fn() -> Vec<u8>;

/// What the peer does with its one connection.
#[derive(Debug, Clone, Copy)]
enum Script {
    /// Sends this at once, and then nothing, with the connection open.
    Says(&'static [u8]),
    /// Waits for a line first, then sends this and closes.
    Answers(&'static [u8]),
    /// Sends this again and again for as long as it is taken.
    Repeats(&'static [u8]),
    /// Sends the first ones once, then the second again and again.
    Floods(&'static [Piece], Piece),
    /// Sends this every 200 ms.
    Drips(&'static [u8]),
}

async fn play(script: Script, mut socket: TcpStream) -> std::io::Result<()> {
    match script {
        Script::Says(text) => socket.write_all(text).await?,
        Script::Answers(text) => {
            while socket.read_u8().await? != b'\n' {}
            socket.write_all(text).await?;
            return socket.shutdown().await;
        }
        Script::Repeats(piece) => {
            let block = piece.repeat(1 + 64 * 1024 / piece.len());
            loop {
                socket.write_all(&block).await?;
            }
        }
        Script::Floods(first, piece) => {
            for part in first {
                socket.write_all(&part()).await?;
            }
            let block = piece().repeat(256);
            loop {
                socket.write_all(&block).await?;
            }
        }
        Script::Drips(piece) => {
            let mut drops = tokio::time::interval(Duration::from_millis(200));
            loop {
                drops.tick().await;
                socket.write_all(piece).await?;
            }
        }
    }
    // Stays, reads and is silent.
    let mut nothing = [0; 4096];
    while socket.read(&mut nothing).await? > 0 {}
    Ok(())
}

async fn look_at_script(home: &Home, script: Script) -> Seen {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = play(script, socket).await;
            });
        }
    });
    let seen = look_at(home, port).await;
    server.abort();
    seen
}

/// An SSH packet before encryption: length, padding, payload.
fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 4 + (8 - (5 + payload.len() + 4) % 8) % 8;
    let length = u32::try_from(1 + payload.len() + padding).unwrap();
    let mut packet = length.to_be_bytes().to_vec();
    packet.push(u8::try_from(padding).unwrap());
    packet.extend_from_slice(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}

/// SSH_MSG_EXT_INFO with one long extension.
fn ext_info() -> Vec<u8> {
    let mut payload = vec![7, 0, 0, 0, 1];
    for text in ["server-sig-algs", &"x".repeat(1000)] {
        payload.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
        payload.extend_from_slice(text.as_bytes());
    }
    packet(&payload)
}

/// SSH_MSG_IGNORE of a thousand bytes.
fn ignore() -> Vec<u8> {
    let mut payload = vec![2, 0, 0, 3, 0xe8];
    payload.resize(1005, b'x');
    packet(&payload)
}

/// SSH_MSG_KEXINIT with the algorithms that every client knows, without strict key exchange.
fn kexinit() -> Vec<u8> {
    let mut payload = vec![20];
    payload.extend_from_slice(&[7; 16]);
    let lists = [
        "curve25519-sha256",
        "ssh-ed25519",
        "aes256-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "hmac-sha2-256",
        "hmac-sha2-256",
        "none",
        "none",
        "",
        "",
    ];
    for list in lists {
        payload.extend_from_slice(&u32::try_from(list.len()).unwrap().to_be_bytes());
        payload.extend_from_slice(list.as_bytes());
    }
    payload.extend_from_slice(&[0; 5]);
    packet(&payload)
}

fn id() -> Vec<u8> {
    ID.to_vec()
}

const ID: &[u8] = b"SSH-2.0-Peer_1\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clawline program"]
async fn what_is_no_ssh_server_is_named_within_a_second() {
    let home = Home::new();
    let ordinary = ordinary_size(&home).await;
    let table: [(&str, Script, &str); 10] = [
        (
            "nginx",
            Script::Answers(b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n<html>\r\n"),
            "is an HTTP server",
        ),
        (
            "python's web server",
            Script::Answers(b"<!DOCTYPE HTML>\n<html lang=\"en\">\n"),
            "is an HTTP server",
        ),
        (
            "a web server that stays",
            Script::Says(b"HTTP/1.1 408 Request Timeout\r\n\r\n"),
            "is an HTTP server",
        ),
        (
            "TLS",
            Script::Answers(b"\x15\x03\x01\x00\x02\x02\x46"),
            "is a TLS server",
        ),
        (
            "TLS that stays",
            Script::Says(b"\x15\x03\x03\x00\x02\x02\x16"),
            "is a TLS server",
        ),
        (
            "SMTP",
            Script::Says(b"220 mail.example ESMTP Postfix\r\n"),
            "is a mail or FTP server",
        ),
        (
            "POP3",
            Script::Says(b"+OK Dovecot ready.\r\n"),
            "is a mail server",
        ),
        (
            "IMAP",
            Script::Says(b"* OK [CAPABILITY IMAP4rev1] ready\r\n"),
            "is a mail server",
        ),
        (
            "Redis",
            Script::Answers(b"-ERR unknown command 'SSH-2.0-clawline'\r\n"),
            "is a Redis server",
        ),
        ("VNC", Script::Says(b"RFB 003.008\n"), "is a VNC server"),
    ];
    for (name, script, words) in table {
        let seen = look_at_script(&home, script).await;
        assert_bounded(name, &seen, ordinary, DEADLINE);
        assert_eq!((seen.exit, seen.text("layer")), (3, "ssh"), "{name}");
        assert!(seen.what().contains(words), "{name}: {seen:?}");
        let has_words = !seen.text("peerText").is_empty();
        assert_eq!(has_words, !words.contains("TLS"), "{name}: {seen:?}");
        assert!(!seen.text("next").is_empty(), "{name}: {seen:?}");
        // A second of ours, and the start of a debug build on a busy machine.
        assert!(
            seen.took < Duration::from_secs(2) + BUSY,
            "{name}: {seen:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clawline program"]
async fn a_peer_that_floods_or_starves_us_before_the_keys_ends_in_a_bounded_error() {
    let home = Home::new();
    let ordinary = ordinary_size(&home).await;
    let silent = "no SSH banner within 10 s";
    let exchange = "key exchange";
    let table: [(&str, Script, &str); 15] = [
        ("silence", Script::Says(b""), silent),
        ("half a banner", Script::Says(b"SSH-2.0-half"), "banner"),
        ("10 MB of banner", Script::Repeats(b"SSH-2.0-long"), ""),
        (
            "a million lines",
            Script::Repeats(b"welcome\r\n"),
            "not an SSH server",
        ),
        ("empty lines", Script::Repeats(b"\r\n"), ""),
        (
            "a line now and then",
            Script::Drips(b"wait\r\n"),
            "not an SSH server",
        ),
        (
            "a byte now and then",
            Script::Drips(b"w"),
            "not an SSH server",
        ),
        (
            "escapes",
            Script::Says(b"\x1b[2J\x1b]0;owned\x07\xe2\x80\xae\r\n"),
            "not an SSH server",
        ),
        (
            "an escape in the id",
            Script::Says(b"SSH-2.0-\x1b[2J\x1b]52;c;b3duZWQ=\x07\r\n"),
            exchange,
        ),
        ("silence after the id", Script::Says(ID), exchange),
        (
            "a packet of 4 GB",
            Script::Floods(&[id], || vec![0xff; 64]),
            exchange,
        ),
        (
            "EXT_INFO without end",
            Script::Floods(&[id, kexinit], ext_info),
            exchange,
        ),
        (
            "ignored messages without end",
            Script::Floods(&[id, kexinit], ignore),
            exchange,
        ),
        (
            "ignored messages before the key exchange",
            Script::Floods(&[id], ignore),
            exchange,
        ),
        (
            "key exchanges without end",
            Script::Floods(&[id], kexinit),
            exchange,
        ),
    ];
    let looks = table.map(|(name, script, words)| {
        let home = &home;
        async move { (name, words, look_at_script(home, script).await) }
    });
    let mut worst = (0, Duration::ZERO);
    for (name, words, seen) in futures_util::future::join_all(looks).await {
        assert_bounded(name, &seen, ordinary, DEADLINE);
        assert_eq!(
            (seen.exit, seen.text("layer")),
            (3, "ssh"),
            "{name}: {seen:?}"
        );
        assert!(seen.what().contains(words), "{name}: {seen:?}");
        assert!(!seen.text("next").is_empty(), "{name}: {seen:?}");
        worst = (seen.peak.max(worst.0), seen.took.max(worst.1));
    }
    figure(
        "hostile before the keys",
        format!(
            "peak {} kB (ordinary {ordinary} kB), longest {} ms",
            worst.0,
            worst.1.as_millis()
        ),
    );
}
