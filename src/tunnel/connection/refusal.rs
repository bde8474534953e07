//! Why a server did not open a channel, for a person: its reason code and its words, translated.

use russh::ChannelOpenFailure;

use crate::layer::{Layer, LayerError, Retry};
use crate::tunnel::spec::RemoteEnd;

/// What sshd says when it has no words of its own.
const NO_WORDS: &str = "open failed";

/// What a refusal means, and what to do about it.
pub(super) fn explain(
    server: &str,
    remote: &RemoteEnd,
    reason: &ChannelOpenFailure,
    words: &str,
    banner: &str,
) -> LayerError {
    let error = match reason {
        ChannelOpenFailure::ConnectFailed => connect_failed(server, remote, words),
        ChannelOpenFailure::ResourceShortage => LayerError::new(
            Layer::Forward,
            format!("{server} has no room for another channel"),
        )
        .next("it takes new ones when others have closed"),
        ChannelOpenFailure::UnknownChannelType => LayerError::new(
            Layer::Forward,
            format!("the SSH server at {server} cannot forward to {remote}"),
        )
        .next(match remote {
            RemoteEnd::Unix(_) => "it forwards no sockets; name a HOST:PORT there instead",
            RemoteEnd::Tcp { .. } => "it forwards no ports; use an OpenSSH server there",
        })
        .retry(Retry::Attention),
        ChannelOpenFailure::AdministrativelyProhibited | ChannelOpenFailure::Other { .. } => {
            forbidden(server, remote)
        }
    };
    let is_connect = matches!(reason, ChannelOpenFailure::ConnectFailed);
    if !is_connect && is_about_password(banner) {
        return error.peer(&format!("{banner} {words}")).next(
            "log in once with ssh to change the password; sshd forbids everything else until then",
        );
    }
    error.peer(words)
}

/// An expired password lets a key sign in and then forbids everything; only the banner says so.
fn is_about_password(banner: &str) -> bool {
    let banner = banner.to_ascii_lowercase();
    let due = ["expired", "required to change", "must change"];
    banner.contains("password") && due.iter().any(|word| banner.contains(word))
}

fn forbidden(server: &str, remote: &RemoteEnd) -> LayerError {
    let next = match remote {
        RemoteEnd::Tcp { .. } => format!(
            "allow it there: in sshd_config AllowTcpForwarding local, PermitOpen {remote} and no \
             DisableForwarding; in authorized_keys put in front of the key: \
             restrict,port-forwarding,permitopen=\"{remote}\""
        ),
        RemoteEnd::Unix(_) => {
            "allow it there: in sshd_config AllowStreamLocalForwarding local and no \
             DisableForwarding; in authorized_keys no restrict without port-forwarding"
                .into()
        }
    };
    LayerError::new(
        Layer::Forward,
        format!("sshd at {server} forbids forwarding to {remote}"),
    )
    .next(next)
    .retry(Retry::Attention)
}

/// Where the server could not connect to. It passes on what its system said.
fn connect_failed(server: &str, remote: &RemoteEnd, words: &str) -> LayerError {
    let port = |what: String| LayerError::new(Layer::Port, what).retry(Retry::Soon);
    let said = |what: &str| words.to_ascii_lowercase().contains(what);
    if let RemoteEnd::Unix(_) = remote
        && (words.is_empty() || words == NO_WORDS)
    {
        // sshd says the same of a socket that is not there and of one that it may not forward to.
        return port(format!(
            "nothing listens on {remote} at {server}, or sshd there may not forward to sockets"
        ))
        .next("is the program running there? else AllowStreamLocalForwarding in sshd_config");
    }
    if said("timed out") {
        return port(format!("{remote} did not answer {server}"))
            .next("is the address right, and does a firewall there drop it?")
            .retry(Retry::Backoff);
    }
    if said("no route") || said("unreachable") {
        return port(format!("{server} has no way to {remote}"))
            .next("is the address right, as seen from there?")
            .retry(Retry::Backoff);
    }
    if said("name or service not known")
        || said("nodename nor servname")
        || said("name resolution")
        || said("no address associated")
        || said("unknown host")
    {
        return port(format!("{server} cannot resolve the name in {remote}"))
            .next("write it as that machine knows it, or use its address")
            .retry(Retry::Backoff);
    }
    let next = match remote {
        RemoteEnd::Tcp { host, .. } if !is_loopback(host) => "is the program running there?",
        _ => "is the gateway running there? clawline-gateway start",
    };
    port(format!("nothing listens on {remote} at {server}")).next(next)
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp() -> RemoteEnd {
        RemoteEnd::loopback(18789)
    }

    #[test]
    fn what_the_server_s_system_said_is_told_apart() {
        let failed = ChannelOpenFailure::ConnectFailed;
        for (words, what, retry) in [
            ("Connection refused", "nothing listens on", Retry::Soon),
            ("", "nothing listens on", Retry::Soon),
            ("Connection timed out", "did not answer", Retry::Backoff),
            ("No route to host", "has no way to", Retry::Backoff),
            ("Network is unreachable", "has no way to", Retry::Backoff),
            (
                "Name or service not known",
                "cannot resolve",
                Retry::Backoff,
            ),
            (
                "Temporary failure in name resolution",
                "cannot resolve",
                Retry::Backoff,
            ),
        ] {
            let error = explain("desktop", &tcp(), &failed, words, "");
            assert!(error.what.contains(what), "{words}: {}", error.what);
            assert_eq!((error.layer, error.retry), (Layer::Port, retry), "{words}");
            assert_eq!(error.peer_text, words);
        }
    }

    #[test]
    fn a_forbidden_forward_names_the_settings_the_address_and_the_line_to_paste() {
        let reason = ChannelOpenFailure::AdministrativelyProhibited;
        let error = explain("desktop", &tcp(), &reason, "open failed", "Welcome.");
        assert_eq!(error.layer, Layer::Forward);
        assert_eq!(error.retry, Retry::Attention);
        assert_eq!(error.peer_text, "open failed");
        assert!(
            error
                .what
                .ends_with("forbids forwarding to 127.0.0.1:18789")
        );
        for setting in [
            "AllowTcpForwarding",
            "PermitOpen 127.0.0.1:18789",
            "DisableForwarding",
            "restrict,port-forwarding,permitopen=\"127.0.0.1:18789\"",
        ] {
            assert!(error.next.contains(setting), "{setting}: {}", error.next);
        }
    }

    #[test]
    fn a_password_that_has_expired_is_told_in_the_banner_s_words() {
        let reason = ChannelOpenFailure::AdministrativelyProhibited;
        let banner = "WARNING: Your password has expired.";
        let error = explain("desktop", &tcp(), &reason, "open failed", banner);
        assert_eq!(error.peer_text, format!("{banner} open failed"));
        assert!(error.next.contains("log in once with ssh"), "{error:?}");
        let banner = "You are required to change your password immediately (root enforced).";
        let error = explain("desktop", &tcp(), &reason, "open failed", banner);
        assert!(error.next.contains("log in once with ssh"), "{error:?}");
        let banner = "Never tell anybody your password.";
        let error = explain("desktop", &tcp(), &reason, "open failed", banner);
        assert_eq!(error.peer_text, "open failed");
    }

    #[test]
    fn a_socket_that_cannot_be_opened_may_be_missing_or_forbidden() {
        let remote = RemoteEnd::Unix("/run/x.sock".into());
        let failed = ChannelOpenFailure::ConnectFailed;
        let error = explain("desktop", &remote, &failed, "open failed", "");
        assert_eq!(error.layer, Layer::Port);
        assert!(error.next.contains("AllowStreamLocalForwarding"));
        let reason = ChannelOpenFailure::UnknownChannelType;
        let error = explain("desktop", &remote, &reason, "", "");
        assert!(error.next.contains("HOST:PORT"));
    }

    #[test]
    fn a_full_server_has_room_later() {
        let reason = ChannelOpenFailure::ResourceShortage;
        let error = explain("desktop", &tcp(), &reason, "", "");
        assert_eq!(error.layer, Layer::Forward);
        assert_ne!(error.retry, Retry::Attention);
    }
}
