//! One client of the loopback server: sign-in, forwards, commands.

use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use russh::keys::PublicKey;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Response, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, MethodKind};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{ExecReply, QuestionRound, Shared};
use crate::tunnel::transport::Lifeline;

pub(super) struct Session {
    shared: Arc<Shared>,
    life: Lifeline,
    round: usize,
    key_accepted: bool,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, life: Lifeline) -> Self {
        Self {
            shared,
            life,
            round: 0,
            key_accepted: false,
        }
    }

    /// Carries a channel to whatever `dialling` reaches.
    fn forward<S>(
        &self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        dialling: impl Future<Output = io::Result<S>> + Send + 'static,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (life, shared) = (self.life.clone(), self.shared.clone());
        tokio::spawn(async move {
            let pump = async {
                let Ok(mut socket) = dialling.await else {
                    reply.reject(ChannelOpenFailure::ConnectFailed).await;
                    return;
                };
                shared.opened_channels.fetch_add(1, Ordering::Relaxed);
                reply.accept().await;
                let mut stream = channel.into_stream();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut socket).await;
            };
            tokio::select! {
                () = life.over() => {}
                () = pump => {}
            }
        });
    }

    fn ask(round: &QuestionRound) -> Auth {
        Auth::Partial {
            name: Cow::Owned(round.name.clone()),
            instructions: Cow::Owned(round.instructions.clone()),
            prompts: round
                .questions
                .iter()
                .map(|(text, echo, _)| (Cow::Owned(text.clone()), *echo))
                .collect(),
        }
    }

    fn is_client_key(&self, key: &PublicKey) -> bool {
        let known = self.shared.options.client_key.as_ref();
        known.is_some_and(|known| known.key_data() == key.key_data())
    }
}

impl Handler for Session {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        Ok(self.shared.options.banner.clone())
    }

    async fn auth_password(&mut self, _user: &str, password: &str) -> Result<Auth, Self::Error> {
        tokio::time::sleep(self.shared.options.password_delay).await;
        let known = self.shared.options.password.as_ref();
        Ok(match known {
            Some(known) if known.matches(password) => Auth::Accept,
            // russh takes a refused method off the list; sshd lets a person try again.
            _ => Auth::Reject {
                proceed_with_methods: Some([MethodKind::Password].as_slice().into()),
                partial_success: false,
            },
        })
    }

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: russh::server::PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(if self.is_client_key(offer.public_key) {
            Auth::Accept
        } else {
            Auth::reject()
        })
    }

    async fn auth_publickey(
        &mut self,
        _user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        if !self.is_client_key(key.public_key) {
            return Ok(Auth::reject());
        }
        if self.shared.options.key_and_questions {
            self.key_accepted = true;
            return Ok(Auth::Reject {
                proceed_with_methods: Some([MethodKind::KeyboardInteractive].as_slice().into()),
                partial_success: true,
            });
        }
        Ok(Auth::Accept)
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let options = &self.shared.options;
        if options.key_and_questions && !self.key_accepted {
            return Ok(Auth::reject());
        }
        let Some(answers) = response else {
            self.round = 0;
            return Ok(options
                .questions
                .first()
                .map_or_else(Auth::reject, Self::ask));
        };
        let answers: Vec<Vec<u8>> = answers.map(|answer| answer.to_vec()).collect();
        let Some(round) = options.questions.get(self.round) else {
            return Ok(Auth::reject());
        };
        let right = answers.len() == round.questions.len()
            && round
                .questions
                .iter()
                .zip(&answers)
                .all(|((_, _, right), given)| right.as_bytes() == given);
        if !right {
            return Ok(Auth::reject());
        }
        self.round += 1;
        Ok(options
            .questions
            .get(self.round)
            .map_or(Auth::Accept, Self::ask))
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        let command = String::from_utf8_lossy(data);
        let reply = match &self.shared.options.exec {
            Some(exec) => exec(&command),
            None => ExecReply::Refused,
        };
        match reply {
            ExecReply::Refused => session.channel_failure(channel),
            ExecReply::Hangs => session.channel_success(channel),
            ExecReply::Done { stdout, status } => {
                session.channel_success(channel)?;
                session.data(channel, stdout)?;
                session.exit_status_request(channel, status)?;
                session.eof(channel)?;
                session.close(channel)
            }
        }
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host_to_connect: &str,
        port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        let loopback = matches!(host_to_connect, "127.0.0.1" | "localhost" | "::1");
        let port = u16::try_from(port_to_connect).ok();
        let (Some(port), true, false) = (port, loopback, self.shared.options.refuse_forwarding)
        else {
            reply
                .reject(ChannelOpenFailure::AdministrativelyProhibited)
                .await;
            return Ok(());
        };
        let dialling = async move {
            let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            socket.set_nodelay(true)?;
            Ok(socket)
        };
        self.forward(channel, reply, dialling);
        Ok(())
    }

    #[cfg(unix)]
    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        socket_path: &str,
        reply: ChannelOpenHandle,
        _session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        if self.shared.options.refuse_forwarding {
            reply
                .reject(ChannelOpenFailure::AdministrativelyProhibited)
                .await;
            return Ok(());
        }
        let path = socket_path.to_owned();
        let dialling = async move { tokio::net::UnixStream::connect(path).await };
        self.forward(channel, reply, dialling);
        Ok(())
    }
}
