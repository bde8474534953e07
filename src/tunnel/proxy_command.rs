//! `ProxyCommand`: a program of the user's carries the bytes of the first hop.
//!
//! The command runs as ssh runs it, `$SHELL -c "exec COMMAND"`, in a process group of its own. The
//! group's leader is a guard, a small shell that waits for the end of its input and then kills the
//! group. Its input is held open by this process alone, so the command ends with the connection and
//! also when this process is killed with SIGKILL. Only a command that leaves the group (`setsid`)
//! escapes.

use std::io;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::layer::{Layer, LayerError, Retry, printable};

use super::spec::HopSpec;
use super::ssh_config;

/// How long the command may take to end by itself once its input is closed.
const END_OF_INPUT: Duration = Duration::from_millis(300);
/// How long it may take after a polite signal.
const POLITE: Duration = Duration::from_secs(1);
/// How long is waited for its last words when it failed.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long is waited for its end, once its stream failed. It ends by itself then, or we end it, within
/// two seconds where the machine has time for it.
const END_KNOWN: Duration = Duration::from_secs(5);
/// How much of what it says is kept: the end.
const KEPT_WORDS: usize = 2048;
/// What the leader of the group does: nothing, until its input ends.
const GUARD: &str = "trap '' HUP INT TERM; read -r _; kill -KILL 0";
/// The shell that every system has, for the guard.
const PLAIN_SHELL: &str = "/bin/sh";

/// The bytes of a running command. Dropping it ends the command and everything it started.
#[derive(Debug)]
pub(crate) struct ProxyStream {
    input: ChildStdin,
    output: ChildStdout,
    _end: DropGuard,
}

/// What is known of a command, for messages; outlives the stream.
#[derive(Debug, Clone)]
pub(crate) struct ProxyNews {
    alias: String,
    command: String,
    words: Arc<Mutex<String>>,
    ended: watch::Receiver<Option<End>>,
}

/// How it came to its end.
#[derive(Debug, Clone, Copy)]
enum End {
    /// By itself.
    Itself(ExitStatus),
    /// It went on without its stream, and was ended; or nobody knows.
    Ours,
}

/// Starts the command of a hop.
///
/// # Errors
/// [`Layer::Tcp`], when the shell cannot be started or the command has a token that means nothing.
pub(crate) fn start(hop: &HopSpec, command: &str) -> Result<(ProxyStream, ProxyNews), LayerError> {
    let command = ssh_config::expand_proxy_command(command, hop).map_err(|what| {
        LayerError::new(Layer::Tcp, format!("ProxyCommand of {}: {what}", hop.alias))
            .retry(Retry::Never)
    })?;
    let cannot = |error: io::Error| {
        let what = format!("the ProxyCommand of {} cannot be started", hop.alias);
        LayerError::new(Layer::Tcp, what)
            .peer(&error.to_string())
            .next("does the shell that SHELL names exist?")
    };
    let mut group = Group::start().map_err(cannot)?;
    let mut child = group.join(&command).map_err(cannot)?;
    let (Some(input), Some(output), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(cannot(io::ErrorKind::BrokenPipe.into()));
    };
    let over = CancellationToken::new();
    let words = Arc::new(Mutex::new(String::new()));
    let (ended, watch_end) = watch::channel(None);
    // It ends within two seconds after the stream, and the guard does its work when it is dropped.
    tokio::spawn(keep(
        child,
        group,
        over.clone(),
        ended,
        listen(errors, words.clone(), hop.alias.clone()),
    ));
    let news = ProxyNews {
        alias: hop.alias.clone(),
        command,
        words,
        ended: watch_end,
    };
    let stream = ProxyStream {
        input,
        output,
        _end: over.drop_guard(),
    };
    Ok((stream, news))
}

/// A process group with a guard as its leader. The number cannot be given to others while it lives.
struct Group {
    guard: Child,
    id: Pid,
}

impl Group {
    fn start() -> io::Result<Self> {
        let guard = Command::new(PLAIN_SHELL)
            .arg("-c")
            .arg(GUARD)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let id = guard.id().and_then(|id| i32::try_from(id).ok());
        let id = id.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Self {
            guard,
            id: Pid::from_raw(id),
        })
    }

    fn join(&mut self, command: &str) -> io::Result<Child> {
        let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
        Command::new(shell.unwrap_or_else(|| PLAIN_SHELL.into()))
            .arg("-c")
            .arg(format!("exec {command}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(self.id.as_raw())
            .kill_on_drop(true)
            .spawn()
    }

    fn signal(&self, signal: Signal) {
        // The group is gone when there is nobody left to tell.
        let _ = killpg(self.id, signal);
    }

    /// Kills what is left and takes the guard's end.
    async fn end(mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.guard.wait().await;
    }
}

/// Waits for the end of the command or of the stream, and leaves nobody behind.
async fn keep(
    mut child: Child,
    group: Group,
    over: CancellationToken,
    ended: watch::Sender<Option<End>>,
    words: impl Future<Output = ()>,
) {
    tokio::pin!(words);
    let mut is_listening = true;
    let by_itself = |status: io::Result<ExitStatus>| status.map_or(End::Ours, End::Itself);
    let end = loop {
        tokio::select! {
            status = child.wait() => break by_itself(status),
            () = &mut words, if is_listening => is_listening = false,
            () = over.cancelled() => {
                if let Ok(status) = timeout(END_OF_INPUT, child.wait()).await {
                    break by_itself(status);
                }
                group.signal(Signal::SIGTERM);
                if timeout(POLITE, child.wait()).await.is_err() {
                    group.signal(Signal::SIGKILL);
                    let _ = child.wait().await;
                }
                break End::Ours;
            }
        }
    };
    if is_listening {
        // What it said last may still be in the pipe.
        let _ = timeout(LAST_WORDS, words).await;
    }
    ended.send_replace(Some(end));
    group.end().await;
}

/// Keeps the end of what the command says.
async fn listen(mut errors: ChildStderr, words: Arc<Mutex<String>>, alias: String) {
    let mut buffer = [0; 1024];
    while let Ok(length) = errors.read(&mut buffer).await {
        if length == 0 {
            return;
        }
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
        tracing::debug!(hop = %alias, words = %printable(&text, 400), "ProxyCommand says");
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        words.push_str(&text);
        let surplus = words.len().saturating_sub(KEPT_WORDS);
        let start = words.ceil_char_boundary(surplus);
        words.drain(..start);
    }
}

impl ProxyNews {
    /// The last lines that the command wrote to its standard error.
    pub(crate) fn words(&self) -> String {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        words.trim().to_owned()
    }

    /// What a connection that did not come up means, given that a command carried it. Waits for the end
    /// of the command, whose stream is given up, and for its last words.
    pub(crate) async fn explain(mut self, error: LayerError) -> LayerError {
        if error.layer != Layer::Ssh {
            return error;
        }
        let _ = timeout(END_KNOWN, self.ended.wait_for(Option::is_some)).await;
        let end = *self.ended.borrow();
        let words = self.words();
        let command = printable(&self.command, 200);
        match end {
            Some(End::Itself(status)) => LayerError::new(
                Layer::Tcp,
                format!(
                    "the ProxyCommand of {} ended ({})",
                    self.alias,
                    in_words(status)
                ),
            )
            .peer(&words)
            .next(format!("try it by hand: {command}")),
            Some(End::Ours) | None if words.is_empty() => error,
            Some(End::Ours) | None => error.peer(&words),
        }
    }
}

fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(127), _) => "exit status 127: no such program".to_owned(),
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {signal}"),
        },
        (None, None) => "for no known reason".to_owned(),
    }
}

impl AsyncRead for ProxyStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ProxyStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Longer than anything here takes.
    const SOON: Duration = Duration::from_secs(60);

    fn hop() -> HopSpec {
        HopSpec {
            alias: "desktop".into(),
            ..HopSpec::bare("desktop.lan", 2222, "you")
        }
    }

    fn is_alive(pid: i32) -> bool {
        // A zombie is dead; whoever reaps it may take a moment.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        match stat {
            Ok(stat) => !stat.rsplit(") ").next().unwrap().starts_with('Z'),
            // Without /proc only the signal tells.
            Err(_) if std::path::Path::new("/proc/self").exists() => false,
            Err(_) => nix::sys::signal::kill(Pid::from_raw(pid), None).is_ok(),
        }
    }

    async fn dead(pids: &[i32]) {
        let gone = async {
            while pids.iter().any(|pid| is_alive(*pid)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let alive = timeout(SOON, gone).await;
        assert!(alive.is_ok(), "still alive of {pids:?}");
    }

    async fn line(stream: &mut ProxyStream) -> String {
        let mut line = Vec::new();
        let read = async {
            loop {
                match stream.read_u8().await {
                    Ok(b'\n') | Err(_) => return,
                    Ok(byte) => line.push(byte),
                }
            }
        };
        timeout(SOON, read).await.unwrap();
        String::from_utf8(line).unwrap()
    }

    #[tokio::test]
    async fn the_command_carries_bytes_both_ways_and_knows_its_tokens() {
        let command = "sh -c 'echo %n %h %p %r %% $0; exec cat' word";
        let (mut stream, _news) = start(&hop(), command).unwrap();
        assert_eq!(
            line(&mut stream).await,
            "desktop desktop.lan 2222 you % word"
        );
        let big = vec![b'x'; 300_000];
        let (mut reader, mut writer) = tokio::io::split(stream);
        let writing = async {
            writer.write_all(&big).await.unwrap();
            writer.write_all(b"\n").await.unwrap();
            writer.flush().await.unwrap();
        };
        let mut back = vec![0; big.len() + 1];
        let both = async { tokio::join!(writing, reader.read_exact(&mut back)) };
        timeout(SOON, both).await.unwrap().1.unwrap();
        assert!(back.starts_with(&big));
    }

    #[tokio::test]
    async fn a_command_that_fails_is_told_with_its_own_words() {
        let lost = || LayerError::new(Layer::Ssh, "closed before its banner");
        let command = "sh -c 'echo first >&2; echo no route to %h >&2; exit 3'";
        let (mut stream, news) = start(&hop(), command).unwrap();
        assert_eq!(line(&mut stream).await, "");
        let error = news.explain(lost()).await;
        assert_eq!(error.layer, Layer::Tcp);
        assert_eq!(
            error.what,
            "the ProxyCommand of desktop ended (exit status 3)"
        );
        assert!(
            error.peer_text.contains("no route to desktop.lan"),
            "{error:?}"
        );
        assert!(error.next.starts_with("try it by hand: sh -c"), "{error:?}");
        let (_stream, news) = start(&hop(), "/nonexistent/program").unwrap();
        let error = news.explain(lost()).await;
        assert!(
            error.what.ends_with("(exit status 127: no such program)"),
            "{error}"
        );
        // What has nothing to do with it stays as it is.
        let (stream, news) = start(&hop(), DEAF).unwrap();
        let other = LayerError::new(Layer::HostKey, "changed");
        assert_eq!(news.clone().explain(other.clone()).await, other);
        drop(stream);
        assert_eq!(news.explain(lost()).await, lost());
    }

    #[tokio::test]
    async fn a_command_that_takes_a_second_to_end_is_told_with_its_own_words_too() {
        let command = "sh -c 'exec >&-; sleep 1; echo no route to %h >&2; exit 3'";
        let (mut stream, news) = start(&hop(), command).unwrap();
        assert_eq!(line(&mut stream).await, "");
        let lost = LayerError::new(Layer::Ssh, "closed before its banner");
        let error = news.explain(lost).await;
        assert!(error.what.ends_with("ended (exit status 3)"), "{error}");
        assert_eq!(error.peer_text, "no route to desktop.lan");
    }

    #[tokio::test]
    async fn tokens_that_mean_nothing_start_nothing() {
        let error = start(&hop(), "nc %d").unwrap_err();
        assert!(error.what.contains("\"%d\" means nothing here"), "{error}");
        assert_eq!(error.retry, Retry::Never);
    }

    #[tokio::test]
    async fn the_words_that_are_kept_are_bounded() {
        let command = "sh -c 'yes 0123456789 | head -c 100000 >&2; echo last >&2; exec cat'";
        let (mut stream, news) = start(&hop(), command).unwrap();
        stream.write_all(b"up\n").await.unwrap();
        assert_eq!(line(&mut stream).await, "up");
        let heard = async {
            while !news.words().ends_with("last") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, heard).await.unwrap();
        assert!(news.words().len() <= KEPT_WORDS);
    }

    /// Goes on without its input.
    const DEAF: &str = "sleep 1000";
    /// Prints its own process, a child in the background, and a deaf grandchild; then waits for ever.
    const FAMILY: &str = "sh -c 'trap \"\" TERM; sleep 1000 & a=$!; \
                          sh -c \"trap : TERM; while :; do sleep 1; done\" & echo $$ $a $!; \
                          while :; do sleep 1; done'";

    fn pids(line: &str) -> Vec<i32> {
        line.split(' ').map(|pid| pid.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn the_end_of_the_stream_is_the_end_of_everybody_even_the_deaf() {
        let (mut stream, _news) = start(&hop(), FAMILY).unwrap();
        let family = pids(&line(&mut stream).await);
        assert!(family.iter().all(|pid| is_alive(*pid)));
        drop(stream);
        dead(&family).await;
    }

    #[tokio::test]
    async fn children_of_a_command_that_has_ended_end_too() {
        let command = "sh -c 'sleep 1000 & echo $!'";
        let (mut stream, _news) = start(&hop(), command).unwrap();
        dead(&pids(&line(&mut stream).await)).await;
    }

    /// Not a test: the process that the next one kills.
    #[tokio::test]
    #[ignore = "a helper of the test below"]
    async fn helper_that_is_killed() {
        if std::env::var_os("CLAWLINE_TEST_HELPER").is_none() {
            return;
        }
        let (mut stream, _news) = start(&hop(), FAMILY).unwrap();
        let family = line(&mut stream).await;
        std::io::Write::write_all(
            &mut std::io::stdout(),
            format!("\nfamily {family}\n").as_bytes(),
        )
        .unwrap();
        std::future::pending::<()>().await;
    }

    #[tokio::test]
    async fn when_our_process_is_killed_the_command_ends_too() {
        let name = "tunnel::proxy_command::tests::helper_that_is_killed";
        let mut helper = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--ignored", "--nocapture"])
            .env("CLAWLINE_TEST_HELPER", "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(helper.stdout.take().unwrap());
        let family = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("family ").map(pids))
            .unwrap();
        assert!(family.iter().all(|pid| is_alive(*pid)));
        helper.kill().unwrap();
        helper.wait().unwrap();
        dead(&family).await;
    }
}
