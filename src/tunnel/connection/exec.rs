//! One command on the far side, its output, and nothing left behind.

use std::sync::Arc;
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{Channel, ChannelMsg};
use tokio::sync::oneshot;

use crate::layer::{Layer, LayerError, Retry};
use crate::tunnel::transport::Lifeline;

use super::closings::Closings;
use super::{Connection, Hook};

/// How much of what a command says on its error output is kept for messages.
const STDERR_BYTES: usize = 512;

/// What a command printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its output.
    pub stdout: Vec<u8>,
    /// Its exit status; `None` when a signal ended it.
    pub exit_status: Option<u32>,
}

enum Failed {
    Session,
    Refused,
    TooMuch,
    Silent(String),
}

impl Connection {
    /// Runs `command` and collects at most `max_bytes` of output within `deadline`.
    ///
    /// Cancel safe: a call that is given up still closes its channel.
    pub(crate) async fn run_command(
        &self,
        command: &str,
        max_bytes: usize,
        deadline: Duration,
    ) -> Result<ExecOutput, LayerError> {
        let (handle, life) = (self.handle.clone(), self.life.clone());
        life.ask();
        let closings = self.closings.clone();
        let command = command.to_owned();
        let running = tokio::spawn(async move {
            let run = async {
                let opening = open_session(handle, life.clone(), closings.clone(), deadline);
                let mut channel = match opening.await {
                    Some(Ok(channel)) => channel,
                    Some(Err(russh::Error::ChannelOpenFailure(_))) => {
                        return Err(Failed::Refused);
                    }
                    Some(Err(_)) => return Err(Failed::Session),
                    None => return Err(Failed::Silent(String::new())),
                };
                closings.watch(channel.id());
                let mut output = Collected::default();
                let run = collect(&mut channel, &command, max_bytes, &mut output);
                let result = match tokio::time::timeout(deadline, run).await {
                    Ok(result) => result,
                    Err(_) => Err(Failed::Silent(output.stderr())),
                };
                // A bare channel that is dropped stays open on the server.
                if !output.closed {
                    let _ = channel.close().await;
                }
                closings.forget(channel.id());
                result.map(|()| output)
            };
            tokio::select! {
                () = life.over() => Err(Failed::Session),
                result = run => result,
            }
        });
        let error = |what: String| LayerError::new(Layer::Ssh, what).retry(Retry::Attention);
        let server = &self.server;
        match running.await {
            Ok(Ok(output)) => Ok(ExecOutput {
                stdout: output.stdout,
                exit_status: output.exit_status,
            }),
            Ok(Err(Failed::Refused)) => Err(error(format!("{server} runs no commands for us"))),
            Ok(Err(Failed::TooMuch)) => Err(error(format!(
                "a command on {server} printed more than {max_bytes} bytes"
            ))),
            Ok(Err(Failed::Silent(stderr))) => Err(error(format!(
                "a command on {server} did not end within {:.0} s",
                deadline.as_secs_f32()
            ))
            .peer(&stderr)),
            Ok(Err(Failed::Session)) | Err(_) => Err(self.why_over()),
        }
    }
}

/// Opens a session channel; `None` when that takes too long. russh leaks a channel whose opening is given
/// up, so the opening goes on, and what comes too late is closed.
async fn open_session(
    handle: Arc<Handle<Hook>>,
    life: Lifeline,
    closings: Closings,
    deadline: Duration,
) -> Option<Result<Channel<Msg>, russh::Error>> {
    let (opened, mut opening) = oneshot::channel();
    tokio::spawn(async move {
        let outcome = tokio::select! {
            () = life.over() => Err(russh::Error::Disconnect),
            outcome = handle.channel_open_session() => outcome,
        };
        if let Err(Ok(late)) = opened.send(outcome) {
            closings.watch(late.id());
            let _ = late.close().await;
            closings.forget(late.id());
        }
    });
    match tokio::time::timeout(deadline, &mut opening).await {
        Ok(outcome) => Some(outcome.unwrap_or(Err(russh::Error::Disconnect))),
        Err(_) => {
            opening.close();
            // It may have come in this very moment.
            opening.try_recv().ok()
        }
    }
}

#[derive(Default)]
struct Collected {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit_status: Option<u32>,
    closed: bool,
}

impl Collected {
    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

async fn collect(
    channel: &mut Channel<Msg>,
    command: &str,
    max_bytes: usize,
    output: &mut Collected,
) -> Result<(), Failed> {
    channel
        .exec(true, command)
        .await
        .map_err(|_| Failed::Session)?;
    let _ = channel.eof().await;
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Failure) => return Err(Failed::Refused),
            Some(ChannelMsg::Data { data }) => {
                if output.stdout.len() + data.len() > max_bytes {
                    return Err(Failed::TooMuch);
                }
                output.stdout.extend_from_slice(&data);
            }
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                let room = STDERR_BYTES.saturating_sub(output.stderr.len());
                output
                    .stderr
                    .extend_from_slice(&data[..room.min(data.len())]);
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => output.exit_status = Some(exit_status),
            Some(ChannelMsg::Close) => {
                output.closed = true;
                return Ok(());
            }
            Some(_) => {}
            // The session's end is told apart by its life.
            None => return Err(Failed::Session),
        }
    }
}
