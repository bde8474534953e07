//! What answers on the SSH port when it is no SSH server, or an sshd that will not talk.

use std::time::Duration;

use crate::layer::{Layer, LayerError, Retry};

use super::peer_address::PeerAddress;

/// How servers of other kinds begin, and what they are. sshd may send lines before its banner, but none
/// of these.
const GREETINGS: &[(&str, &str)] = &[
    ("HTTP/", "an HTTP server"),
    ("<!", "an HTTP server"),
    ("<html", "an HTTP server"),
    // A TLS alert and a TLS handshake message, of any version.
    ("\u{15}\u{3}", "a TLS server"),
    ("\u{16}\u{3}", "a TLS server"),
    ("220 ", "a mail or FTP server"),
    ("220-", "a mail or FTP server"),
    ("+OK", "a mail server"),
    ("* OK", "a mail server"),
    ("-ERR", "a Redis server"),
    ("-DENIED", "a Redis server"),
    ("RFB ", "a VNC server"),
];

fn kind(text: &str) -> Option<&'static str> {
    let text = text.trim_start_matches(['\r', '\n']);
    let (_, kind) = GREETINGS
        .iter()
        .find(|(greeting, _)| text.starts_with(greeting))?;
    Some(kind)
}

/// True when these first words are another kind of server's, so that nothing else needs to be waited for.
pub(super) fn is_known(text: &str) -> bool {
    kind(text).is_some()
}

/// The deadline for the banner passed.
pub(super) fn no_banner(text: &str, address: &PeerAddress, limit: Duration) -> LayerError {
    if !text.is_empty() {
        return not_ssh(text, address);
    }
    let what = format!(
        "{address} accepts connections but says nothing (no SSH banner within {} s)",
        limit.as_secs()
    );
    LayerError::new(Layer::Ssh, what).next("is this the SSH port?")
}

/// Something else answered, or sshd said why it will not talk.
pub(super) fn not_ssh(text: &str, address: &PeerAddress) -> LayerError {
    let line = text.lines().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or_default();
    let ssh = |what: String| LayerError::new(Layer::Ssh, what).peer(line);
    if line.contains("MaxStartups") {
        return ssh(format!("sshd at {address} has too many sign-ins under way"))
            .next("it takes new ones in a moment");
    }
    if line.contains("Not allowed at this time") {
        return ssh(format!("sshd at {address} is penalising this address")).penalty();
    }
    if line.starts_with("SSH-") {
        return ssh(format!("{address} sent no whole SSH banner"))
            .next("check host and port: an SSH server says what it is on one line");
    }
    let kind = kind(text).unwrap_or("not an SSH server");
    // In a network that answers for everybody until somebody has signed in there, it passes.
    let stranger = ssh(format!("{address} is {kind}"));
    // The first words of TLS are bytes, and none of them is for people.
    let is_tls = text.starts_with(['\u{15}', '\u{16}']);
    let stranger = if is_tls { stranger.peer("") } else { stranger };
    stranger
        .next("check host and port, and whether this network wants a sign-in of its own")
        .retry(Retry::Later)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_servers_are_known_by_their_first_words_and_sshd_is_not() {
        for text in [
            "HTTP/1.1 400",
            "\r\n<!DOCTYPE",
            "220 mail",
            "\u{15}\u{3}\u{1}",
        ] {
            assert!(is_known(text), "{text:?}");
        }
        for text in [
            "",
            "SSH-2.0-OpenSSH_9.2\r\n",
            "Exceeded MaxStartups\r\n",
            "Welcome, 220 of you\r\n",
        ] {
            assert!(!is_known(text), "{text:?}");
        }
    }
}
