//! What russh calls back: the host key to judge, and everything the server says unasked.

use std::future::Future;

use russh::client::{ChannelOpenHandle, DisconnectReason, Msg, Session};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelId, ChannelOpenFailure, Names};

use crate::layer::LayerError;
use crate::tunnel::hang_up::HangUp;
use crate::tunnel::transport::Lifeline;

use super::closings::Closings;
use super::diagnostics::Diagnostics;
use super::host_key_check::HostKeyCheck;
use super::host_key_update::Announcement;
use super::strictness::Strictness;

/// Why a session ended: russh's reason, or ours.
#[derive(Debug)]
pub(crate) enum HookError {
    Russh(russh::Error),
    Ours(LayerError),
}

impl From<russh::Error> for HookError {
    fn from(error: russh::Error) -> Self {
        Self::Russh(error)
    }
}

/// The handler of one session. The session owns it, so its drop marks the session's end.
pub(crate) struct Hook {
    pub(crate) host_key: HostKeyCheck,
    pub(crate) announcement: Announcement,
    pub(crate) diagnostics: Diagnostics,
    pub(crate) closings: Closings,
    pub(crate) life: Lifeline,
    pub(super) strictness: Strictness,
    pub(crate) hang_up: HangUp,
}

impl Drop for Hook {
    fn drop(&mut self) {
        // russh drops the handler before its channels, so a reader never takes the death of the
        // session for the end of its stream.
        self.life.cut();
    }
}

type Done = Result<(), HookError>;

async fn refuse(reply: ChannelOpenHandle) -> Done {
    reply
        .reject(ChannelOpenFailure::AdministrativelyProhibited)
        .await;
    Ok(())
}

impl russh::client::Handler for Hook {
    type Error = HookError;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, HookError> {
        let life = self.life.clone();
        let hang_up = self.hang_up.clone();
        let asker = self.host_key.asker.clone();
        let hung_up = self.host_key.hung_up();
        tokio::select! {
            biased;
            () = life.over() => Ok(false),
            verdict = self.host_key.judge(key) => verdict.map(|()| true).map_err(HookError::Ours),
            () = hang_up.happened() => Err(match asker.is_asking() {
                true => HookError::Ours(hung_up),
                false => HookError::Russh(russh::Error::HUP),
            }),
        }
    }

    async fn openssh_ext_host_keys_announced(
        &mut self,
        keys: Vec<PublicKey>,
        _session: &mut Session,
    ) -> Done {
        self.announcement.announce(keys);
        Ok(())
    }

    async fn auth_banner(&mut self, banner: &str, _session: &mut Session) -> Done {
        self.diagnostics.add_banner(banner);
        Ok(())
    }

    async fn kex_done(
        &mut self,
        _shared_secret: Option<&[u8]>,
        names: &Names,
        _session: &mut Session,
    ) -> Done {
        self.strictness
            .check(names.strict_kex(), names.cipher)
            .map_err(HookError::Ours)?;
        let kex = names.kex.as_ref().split('@').next().unwrap_or_default();
        let cipher = names.cipher.as_ref().split('@').next().unwrap_or_default();
        let strict = if names.strict_kex() {
            "strict kex"
        } else {
            "no strict kex"
        };
        let kex = kex.strip_suffix("-sha256").unwrap_or(kex);
        self.diagnostics
            .set_negotiated(format!("{kex} · {cipher} · {strict}"));
        Ok(())
    }

    async fn channel_open_failure(
        &mut self,
        _channel: ChannelId,
        _reason: ChannelOpenFailure,
        description: &str,
        _language: &str,
        _session: &mut Session,
    ) -> Done {
        self.diagnostics.add_refusal(description);
        Ok(())
    }

    async fn channel_open_confirmation(
        &mut self,
        id: ChannelId,
        _max_packet_size: u32,
        _window_size: u32,
        _session: &mut Session,
    ) -> Done {
        self.closings.opened(id);
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Done {
        self.closings.mark(channel);
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<HookError>) -> Done {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                self.diagnostics.set_parting(&info.message);
            }
            DisconnectReason::Error(HookError::Russh(error)) => {
                self.diagnostics.set_parting(&in_words(&error));
            }
            DisconnectReason::Error(HookError::Ours(error)) => {
                self.diagnostics.set_parting(&error.what);
            }
        }
        Ok(())
    }

    // Nothing was asked for that a server could open a channel for.

    fn server_channel_open_forwarded_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _connected_address: &str,
        _connected_port: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> impl Future<Output = Done> + Send {
        refuse(reply)
    }

    fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> impl Future<Output = Done> + Send {
        refuse(reply)
    }

    fn server_channel_open_agent_forward(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> impl Future<Output = Done> + Send {
        refuse(reply)
    }

    fn server_channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> impl Future<Output = Done> + Send {
        refuse(reply)
    }

    fn server_channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host_to_connect: &str,
        _port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> impl Future<Output = Done> + Send {
        refuse(reply)
    }

    fn server_channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> impl Future<Output = Done> + Send {
        refuse(reply)
    }

    fn server_channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> impl Future<Output = Done> + Send {
        refuse(reply)
    }
}

/// russh's reason for an end, as a person would say it.
pub(crate) fn in_words(error: &russh::Error) -> String {
    use std::io::ErrorKind;
    match error {
        russh::Error::Disconnect | russh::Error::HUP => {
            "the server closed the connection".to_owned()
        }
        russh::Error::IO(error) => match error.kind() {
            ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
            ErrorKind::ConnectionReset => "the connection was reset".to_owned(),
            ErrorKind::BrokenPipe => "the connection was cut".to_owned(),
            ErrorKind::TimedOut => format!("the connection stalled ({error})"),
            _ => error.to_string(),
        },
        other => other.to_string(),
    }
}
