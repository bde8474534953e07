//! After the keys: russh's server with a handler that misbehaves.

use std::sync::Arc;
use std::time::Duration;

use clawline::loopback_ssh::fresh_key;
use russh::keys::PrivateKey;
use russh::server::VerifiedPublicKey;
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, MethodKind};
use tokio::net::TcpListener;

use super::{DEADLINE, Home, Seen, assert_bounded, look_at, ordinary_size};
use crate::support::figures::figure;

/// Escapes, direction changes and many lines, 200 kB of them.
fn foul_words() -> String {
    "\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}line\r\n".repeat(10_000)
}

/// What is wrong with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vice {
    /// A long and foul banner, and nobody is let in.
    Banner,
    /// Every key is one of several that it wants, for ever.
    NeverEnough,
    /// It never answers a sign-in.
    NoVerdict,
    /// Channels with no window and packets of no size.
    NoWindow,
    /// It never answers a channel that is opened.
    NoChannel,
    /// It leaves with foul words when a channel is opened.
    FoulGoodbye,
    /// It refuses a channel with foul words.
    FoulRefusal,
    /// It opens channels itself, without end.
    Unsolicited,
    /// Commands and forwards answer with data without end.
    Endless,
}

/// A sign-in or a far end that answers nothing may be a person's second factor or a slow far host, and has
/// 20 s.
const PATIENT: Duration = Duration::from_secs(25);

#[derive(Clone)]
struct Rogue(Vice);

impl Rogue {
    fn config(&self, key: PrivateKey) -> Config {
        let narrow = self.0 == Vice::NoWindow;
        Config {
            methods: [MethodKind::PublicKey].as_slice().into(),
            auth_rejection_time: Duration::ZERO,
            auth_rejection_time_initial: Some(Duration::ZERO),
            // Whoever tries more often is to be stopped by itself.
            max_auth_attempts: 1000,
            keys: vec![key],
            window_size: if narrow { 0 } else { 1 << 20 },
            maximum_packet_size: if narrow { 0 } else { 32 * 1024 },
            ..Config::default()
        }
    }

    async fn verdict(&self) -> Auth {
        match self.0 {
            Vice::Banner => Auth::reject(),
            Vice::NeverEnough => Auth::Reject {
                proceed_with_methods: Some([MethodKind::PublicKey].as_slice().into()),
                partial_success: true,
            },
            Vice::NoVerdict => std::future::pending().await,
            _ => Auth::Accept,
        }
    }

    async fn opened(
        &self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        match self.0 {
            Vice::NoChannel => {
                // Kept, so that it is neither accepted nor refused.
                tokio::spawn(async move {
                    let _kept = (channel, reply);
                    std::future::pending::<()>().await;
                });
            }
            Vice::FoulGoodbye => {
                session.disconnect(Disconnect::ByApplication, &foul_words(), "")?;
            }
            Vice::FoulRefusal => {
                session.channel_open_failure(
                    channel.id(),
                    ChannelOpenFailure::AdministrativelyProhibited,
                    &foul_words(),
                    "",
                )?;
                std::mem::forget(reply);
            }
            Vice::Endless => {
                reply.accept().await;
                tokio::spawn(
                    async move { while channel.data(&[b'x'; 32 * 1024][..]).await.is_ok() {} },
                );
            }
            _ => reply.accept().await,
        }
        Ok(())
    }
}

impl Handler for Rogue {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        Ok((self.0 == Vice::Banner).then(foul_words))
    }

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        _offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(match self.0 {
            Vice::NoVerdict => self.verdict().await,
            _ => Auth::Accept,
        })
    }

    async fn auth_publickey(
        &mut self,
        _user: &str,
        _key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.verdict().await)
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), russh::Error> {
        if self.0 == Vice::Unsolicited {
            for _ in 0..16 {
                let handle = session.handle();
                tokio::spawn(async move {
                    loop {
                        let opened = handle.channel_open_forwarded_tcpip("a", 1, "b", 2).await;
                        if matches!(opened, Err(russh::Error::SendError)) {
                            return;
                        }
                    }
                });
            }
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.opened(channel, reply, session).await
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        _host_to_connect: &str,
        _port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.opened(channel, reply, session).await
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }
}

async fn look_at_rogue(vice: Vice) -> Seen {
    let home = Home::new();
    let key = fresh_key().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    home.knows(port, key.public_key());
    let rogue = Rogue(vice);
    let config = Arc::new(rogue.config(key));
    let server = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (config, rogue) = (config.clone(), rogue.clone());
            tokio::spawn(async move {
                if let Ok(session) = russh::server::run_stream(config, socket, rogue).await {
                    let _ = session.await;
                }
            });
        }
    });
    let seen = look_at(&home, port).await;
    server.abort();
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clawline program"]
async fn a_server_that_misbehaves_after_the_keys_ends_in_a_bounded_error() {
    let ordinary = ordinary_size(&Home::new()).await;
    let table = [
        (Vice::Banner, 5, "signin"),
        (Vice::NeverEnough, 5, "signin"),
        (Vice::NoVerdict, 5, "signin"),
        (Vice::NoWindow, 3, "ssh"),
        (Vice::NoChannel, 6, "port"),
        (Vice::FoulGoodbye, 3, "ssh"),
        (Vice::FoulRefusal, 6, "forward"),
        (Vice::Unsolicited, 7, "websocket"),
        (Vice::Endless, 7, "websocket"),
    ];
    let looks = table
        .map(|(vice, exit, layer)| async move { (vice, exit, layer, look_at_rogue(vice).await) });
    let mut worst = (0, Duration::ZERO);
    let mut wrong = Vec::new();
    for (vice, exit, layer, seen) in futures_util::future::join_all(looks).await {
        let name = format!("{vice:?}");
        let silent = matches!(vice, Vice::NoVerdict | Vice::NoChannel);
        assert_bounded(
            &name,
            &seen,
            ordinary,
            if silent { PATIENT } else { DEADLINE },
        );
        if (seen.exit, seen.text("layer")) != (exit, layer) {
            wrong.push((vice, seen.exit, seen.text("layer").to_owned()));
        }
        worst = (seen.peak.max(worst.0), seen.took.max(worst.1));
    }
    figure(
        "hostile after the keys",
        format!(
            "peak {} kB (ordinary {ordinary} kB), longest {} ms",
            worst.0,
            worst.1.as_millis()
        ),
    );
    assert!(wrong.is_empty(), "{wrong:?}");
}
