//! Banner and key exchange, each with its deadline, and what it means when they fail.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::SshId;
use russh::client::{Config, Handle};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::layer::{Layer, LayerError, Retry, Sign, printable};
use crate::tunnel::asker::Asker;
use crate::tunnel::host_key::{HostName, KnownHosts};
use crate::tunnel::spec::HopSpec;
use crate::tunnel::transport::{Head, Transport};

use super::handler::{Hook, HookError, in_words};
use super::offer;
use super::peer_address::PeerAddress;
use super::stranger;

/// How long a server may take to say what it is.
const BANNER: Duration = Duration::from_secs(10);
/// The same where a command carries the bytes: it has to start, find its way and connect first.
const BANNER_BY_COMMAND: Duration = Duration::from_secs(30);
/// How long the key exchange may take after that.
const KEY_EXCHANGE: Duration = Duration::from_secs(10);

/// What we offer to this server.
pub(super) fn config(
    hop: &HopSpec,
    known: &KnownHosts,
    window: u32,
    careful: bool,
) -> Result<Arc<Config>, LayerError> {
    let allowed = hop.host_key_algorithms.as_deref();
    let host_keys = known.offer(&HostName::of_hop(hop), allowed);
    if host_keys.is_empty() {
        let what = format!(
            "HostKeyAlgorithms of {} allows none that clawline speaks",
            hop.alias
        );
        return Err(LayerError::new(Layer::Ssh, what).retry(Retry::Never));
    }
    Ok(Arc::new(Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!(
            "SSH-2.0-clawline_",
            env!("CARGO_PKG_VERSION")
        ))),
        window_size: window,
        limits: offer::limits(hop.rekey_limit),
        preferred: offer::preferred(hop, host_keys, careful),
        // Liveness is watched from outside the session, which cannot watch its own writes.
        keepalive_interval: None,
        inactivity_timeout: None,
        ..Config::default()
    }))
}

/// What comes first of a handshake.
enum First<T> {
    /// It ended, well or not.
    Over(T),
    /// The server said that it speaks SSH.
    Ssh,
    /// Another kind of server answered.
    Stranger,
}

fn first_words<T>(head: &Head) -> Option<First<T>> {
    if head.ssh_id().is_some() {
        return Some(First::Ssh);
    }
    stranger::is_known(&head.text()).then_some(First::Stranger)
}

/// Exchanges banners and keys; the host key is judged on the way.
pub(super) async fn shake_hands<S>(
    config: Arc<Config>,
    transport: Transport<S>,
    hook: Hook,
    head: &Head,
    asker: &Asker,
    address: &PeerAddress,
    hop: &HopSpec,
) -> Result<Handle<Hook>, LayerError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let patience = match hop.proxy_command {
        Some(_) => hop.connect_timeout.unwrap_or(BANNER_BY_COMMAND),
        None => BANNER,
    };
    let connecting = russh::client::connect_stream(config, transport, hook);
    tokio::pin!(connecting);
    let banner = async {
        tokio::select! {
            biased;
            result = &mut connecting => First::Over(result),
            first = head.once(first_words) => first,
        }
    };
    let result = match asker.within(patience, banner).await {
        Ok(First::Over(result)) => result,
        Ok(First::Stranger) => return Err(stranger::not_ssh(&head.text(), address)),
        Err(_) => return Err(stranger::no_banner(&head.text(), address, patience)),
        Ok(First::Ssh) => match asker.within(KEY_EXCHANGE, &mut connecting).await {
            Ok(result) => result,
            Err(_) => {
                let what = format!(
                    "{address} did not finish the SSH key exchange within {} s",
                    KEY_EXCHANGE.as_secs()
                );
                return Err(LayerError::new(Layer::Ssh, what)
                    .next("a path that drops large packets looks like this: try another network"));
            }
        },
    };
    result.map_err(|error| match error {
        HookError::Ours(error) => error,
        HookError::Russh(error) => explain(&error, head, address),
    })
}

/// `OpenSSH 9.2` out of `SSH-2.0-OpenSSH_9.2p1 Debian-2`.
pub(super) fn server_name(head: &Head) -> String {
    let id = head.ssh_id().unwrap_or_default();
    let software = id.splitn(3, '-').nth(2).unwrap_or("SSH server");
    let name = software.split(' ').next().unwrap_or(software);
    let name = match name.strip_prefix("OpenSSH_") {
        Some(version) => format!("OpenSSH {}", version.split('p').next().unwrap_or(version)),
        None => name.replace('_', " "),
    };
    printable(&name, 60)
}

/// What a failed handshake means.
fn explain(error: &russh::Error, head: &Head, address: &PeerAddress) -> LayerError {
    let ssh = |what: String| LayerError::new(Layer::Ssh, what);
    match (head.ssh_id(), error) {
        (None, _) if !head.text().is_empty() => stranger::not_ssh(&head.text(), address),
        (None, _) => ssh(format!(
            "{address} closed the connection before its SSH banner"
        ))
        .sign(Sign::Dropped)
        .next("sshd may be starting, overloaded, or turning this address away"),
        (Some(_), russh::Error::NoCommonAlgo { kind, theirs, .. }) => {
            ssh(format!("no common {kind:?} algorithm with {address}"))
                .peer(&theirs.join(","))
                .next("the server is too old or too strict for clawline")
                .retry(Retry::Attention)
        }
        (Some(_), russh::Error::WrongServerSig | russh::Error::Signature(_)) => LayerError::new(
            Layer::HostKey,
            format!("{address} could not prove that it holds its host key"),
        )
        .retry(Retry::Never),
        (Some(_), error) => ssh(format!(
            "the SSH key exchange with {address} failed: {}",
            in_words(error)
        ))
        .next("the server's own log may say more"),
    }
}
