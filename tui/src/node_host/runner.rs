//! Runs a plan that was approved, exactly as it was held, and collects what it says.

use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Refused;
use super::keeper::{NAME, Order, Said};
use super::plan::Prepared;

/// Most of each output that is kept; the rest is read and dropped.
const MAX_OUTPUT: usize = 200_000;
/// How long the keeper may take to start.
const START: Duration = Duration::from_secs(10);
/// How long the end of the output and the keeper's last word may take after a kill.
const END: Duration = Duration::from_secs(3);
/// Whether programs can run here at all.
pub(super) const CAN_RUN: bool = true;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    code: Option<i32>,
    signal: Option<i32>,
    timed_out: bool,
    stdout: Output,
    stderr: Output,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Output {
    kept: Vec<u8>,
    dropped: u64,
}

impl Outcome {
    /// As OpenClaw's node hosts say it.
    pub fn to_json(&self) -> Value {
        let error = match (self.signal, self.timed_out) {
            (_, true) => Value::String("it did not end in time and was killed".into()),
            (Some(signal), _) => Value::String(format!("killed by signal {signal}")),
            (None, _) => Value::Null,
        };
        json!({
            "exitCode": self.code,
            "timedOut": self.timed_out,
            "success": self.code == Some(0) && !self.timed_out,
            "stdout": self.stdout.text(),
            "stderr": self.stderr.text(),
            "error": error,
        })
    }

    /// Ended well.
    pub fn is_good(&self) -> bool {
        self.code == Some(0) && !self.timed_out
    }

    /// The exit code, where there is one.
    pub fn code(&self) -> Option<i32> {
        self.code
    }
}

impl Output {
    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.kept).into_owned();
        if self.dropped > 0 {
            text.push_str(&format!("\n... (truncated, {} bytes more)", self.dropped));
        }
        text
    }
}

/// Runs a plan to its end, the deadline or the cancellation; nothing that it started is left afterwards.
/// Dropping the future kills it, too.
pub(super) async fn run(
    prepared: Prepared,
    deadline: Duration,
    stop: &CancellationToken,
) -> Result<Outcome, Refused> {
    let prepared = Arc::new(prepared);
    let held = Arc::clone(&prepared);
    let checked = tokio::task::spawn_blocking(move || held.check(SystemTime::now())).await;
    checked.map_err(|error| failed(&error.to_string()))??;
    let mut keeper = Keeper::start(&prepared).map_err(|error| failed(&error.to_string()))?;
    let first = timeout(START, keeper.hear()).await;
    let pid = match first.map_err(|_| failed("the keeper did not start"))? {
        Some(Said::Started { pid }) => pid,
        Some(Said::Failed { why }) => return Err(failed(&why)),
        Some(Said::Ended { .. }) | None => return Err(failed("the keeper ended")),
    };
    if !prepared.is_program_untouched() {
        // Dropping the keeper's socket kills what was started.
        return Err(Refused::plan_changed("the program was written to"));
    }
    keeper.finish(pid, deadline, stop).await
}

fn failed(why: &str) -> Refused {
    let why = clawline::layer::printable(why, 200);
    Refused::unavailable(format!("SYSTEM_RUN_FAILED: {why}"))
}

struct Keeper {
    socket: BufReader<UnixStream>,
    stdout: tokio::process::ChildStdout,
    stderr: tokio::process::ChildStderr,
}

impl Keeper {
    fn start(prepared: &Prepared) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let mut child = Command::new(program())
            .arg(NAME)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the node, which then ends what runs in good order.
            .process_group(0)
            .spawn()?;
        let pipes = child.stdout.take().zip(child.stderr.take());
        let (stdout, stderr) = pipes.ok_or_else(|| io::Error::other("no pipes"))?;
        let plan = &prepared.plan;
        let order = Order {
            node_pid: std::process::id(),
            exe: prepared.exe.as_raw_fd(),
            cwd: prepared.cwd.as_raw_fd(),
            exe_id: plan.exe_id(),
            argv: plan.argv.clone(),
            env: plan.env.clone(),
        };
        let mut line = serde_json::to_vec(&order)?;
        line.push(b'\n');
        // At most some 10 KiB, which the empty buffer of a socket takes at once.
        (&ours).write_all(&line)?;
        ours.set_nonblocking(true)?;
        let socket = UnixStream::from_std(ours)?;
        Ok(Self {
            socket: BufReader::new(socket),
            stdout,
            stderr,
        })
    }

    async fn hear(&mut self) -> Option<Said> {
        let mut line = String::new();
        self.socket.read_line(&mut line).await.ok()?;
        serde_json::from_str(&line).ok()
    }

    async fn finish(
        self,
        pid: i32,
        deadline: Duration,
        stop: &CancellationToken,
    ) -> Result<Outcome, Refused> {
        let Self {
            mut socket,
            stdout,
            stderr,
        } = self;
        let reading = async { tokio::join!(collect(stdout), collect(stderr)) };
        tokio::pin!(reading);
        let mut line = String::new();
        let mut timed_out = false;
        let mut outputs = None;
        let told = {
            let telling = socket.read_line(&mut line);
            tokio::pin!(telling);
            let ended = tokio::time::sleep(deadline);
            tokio::pin!(ended);
            loop {
                tokio::select! {
                    told = &mut telling => break told.is_ok(),
                    read = &mut reading, if outputs.is_none() => outputs = Some(read),
                    () = &mut ended => {
                        timed_out = true;
                        break false;
                    }
                    () = stop.cancelled() => return Err(Refused::unavailable("cancelled")),
                }
            }
        };
        if !told {
            let _ = socket.get_mut().shutdown().await;
            let _ = timeout(END, socket.read_line(&mut line)).await;
        }
        let (code, signal) = match serde_json::from_str(&line) {
            Ok(Said::Ended { code, signal }) => (code, signal),
            _ => {
                // Somebody killed the keeper, and the program goes on in its group.
                let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
                (None, None)
            }
        };
        let (stdout, stderr) = match outputs {
            Some(outputs) => outputs,
            None => timeout(END, &mut reading).await.unwrap_or_default(),
        };
        Ok(Outcome {
            code: code.filter(|_| !timed_out),
            signal,
            timed_out,
            stdout,
            stderr,
        })
    }
}

/// This program, whatever its file is called by now.
fn program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Reads to the end, and keeps the beginning.
async fn collect(mut from: impl AsyncRead + Unpin) -> Output {
    let mut output = Output::default();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return output,
            Ok(read) => read,
        };
        let room = MAX_OUTPUT - output.kept.len();
        output.kept.extend_from_slice(&buffer[..read.min(room)]);
        output.dropped += read.saturating_sub(room) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(code: Option<i32>, signal: Option<i32>, timed_out: bool) -> Value {
        Outcome {
            code,
            signal,
            timed_out,
            stdout: Output::default(),
            stderr: Output::default(),
        }
        .to_json()
    }

    #[test]
    fn the_result_has_the_recorded_shape() {
        assert_eq!(
            outcome(Some(0), None, false),
            json!({"exitCode": 0, "timedOut": false, "success": true, "stdout": "", "stderr": "", "error": null})
        );
        assert_eq!(outcome(Some(3), None, false)["success"], false);
        assert_eq!(outcome(None, Some(9), false)["error"], "killed by signal 9");
        let late = outcome(None, Some(9), true);
        assert_eq!(
            (&late["timedOut"], &late["exitCode"]),
            (&json!(true), &Value::Null)
        );
    }

    #[tokio::test]
    async fn more_output_than_is_kept_is_counted_and_does_not_block() {
        let much = vec![b'x'; MAX_OUTPUT + 5];
        let output = collect(much.as_slice()).await;
        assert_eq!((output.kept.len(), output.dropped), (MAX_OUTPUT, 5));
        assert!(output.text().ends_with("(truncated, 5 bytes more)"));
    }
}
