//! A crowd of clients for a running gateway, for `.ci/perf.sh` and `.ci/soak`: prints `figure NAME: VALUE` lines.
//!
//! ```text
//! crowd idle PORT TOKEN_FILE PID COUNT       connections that do nothing, what each costs, a sweep of `health`
//! crowd busy PORT TOKEN_FILE COUNT SILENT    COUNT clients that call and listen beside SILENT that never read
//! ```

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

type Failure = Box<dyn Error + Send + Sync>;
type Socket = WebSocketStream<TcpStream>;

/// Nothing is waited for longer.
const DEADLINE: Duration = Duration::from_secs(60);
/// Sign-ins under way at once: fewer than the gateway's lobby holds.
const AT_ONCE: usize = 48;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["idle", port, token, pid, count] => {
            idle(&Gateway::new(port, token)?, pid.parse()?, count.parse()?).await
        }
        ["busy", port, token, count, silent] => {
            busy(&Gateway::new(port, token)?, count.parse()?, silent.parse()?).await
        }
        _ => Err(
            "crowd idle PORT TOKEN_FILE PID COUNT, or crowd busy PORT TOKEN_FILE COUNT SILENT"
                .into(),
        ),
    }
}

fn figure(name: &str, value: impl std::fmt::Display) -> Result<(), Failure> {
    writeln!(std::io::stdout().lock(), "figure {name}: {value}")?;
    Ok(())
}

#[derive(Clone)]
struct Gateway {
    port: u16,
    token: String,
}

impl Gateway {
    fn new(port: &str, token_file: &str) -> Result<Self, Failure> {
        Ok(Self {
            port: port.parse()?,
            token: std::fs::read_to_string(token_file)?.trim().to_owned(),
        })
    }

    /// A signed-in connection; with a buffer of next to nothing for one that will not read.
    async fn open(&self, small: bool) -> Result<Socket, Failure> {
        let socket = TcpSocket::new_v4()?;
        if small {
            socket.set_recv_buffer_size(4096)?;
        }
        let stream = socket.connect(([127, 0, 0, 1], self.port).into()).await?;
        stream.set_nodelay(true)?;
        let url = format!("ws://127.0.0.1:{}/", self.port);
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await?;
        let challenge = next(&mut socket).await?;
        if challenge["event"] != "connect.challenge" {
            return Err(format!("no challenge: {challenge}").into());
        }
        let params = json!({
            "minProtocol": 4, "maxProtocol": 4, "role": "operator",
            "client": {"id": "cli", "mode": "cli", "version": "crowd", "platform": "linux"},
            "scopes": ["operator.read", "operator.write"], "auth": {"token": self.token},
        });
        let hello = call(&mut socket, "connect", params).await?;
        match hello["ok"] == true {
            true => Ok(socket),
            false => Err(format!("refused: {hello}").into()),
        }
    }

    /// Many of them, as fast as the gateway lets strangers in; each is handed on as soon as it is signed in.
    async fn open_many(
        self: &Arc<Self>,
        count: usize,
        mut opened: impl FnMut(Socket),
    ) -> Result<(), Failure> {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut opening = JoinSet::new();
        for _ in 0..count {
            let slot = Arc::clone(&slots).acquire_owned().await?;
            let gateway = Arc::clone(self);
            opening.spawn(async move {
                let opened = gateway.open(false).await;
                drop(slot);
                opened
            });
            while let Some(socket) = opening.try_join_next() {
                opened(socket??);
            }
        }
        while let Some(socket) = opening.join_next().await {
            opened(socket??);
        }
        Ok(())
    }
}

/// The next frame.
async fn next(socket: &mut Socket) -> Result<Value, Failure> {
    loop {
        match tokio::time::timeout(DEADLINE, socket.next()).await? {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(text.as_str())?),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err("closed".into()),
        }
    }
}

/// One call; events before its answer are dropped.
async fn call(socket: &mut Socket, method: &str, params: Value) -> Result<Value, Failure> {
    let request = json!({"type": "req", "id": "c", "method": method, "params": params});
    socket.send(Message::text(request.to_string())).await?;
    loop {
        let frame = next(socket).await?;
        if frame["type"] == "res" && frame["id"] == "c" {
            return Ok(frame);
        }
    }
}

/// Resident kilobytes and open files of a process.
fn size_of(pid: u32) -> Result<(u64, usize), Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    let files = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    Ok((kilobytes.ok_or("no VmRSS")?.parse()?, files))
}

/// Answers pings, and asks for `health` once when told to; then stays until it is dropped.
async fn stays(mut socket: Socket, mut go: watch::Receiver<bool>, told: mpsc::Sender<bool>) {
    let asked = loop {
        tokio::select! {
            frame = socket.next() => if !matches!(frame, Some(Ok(_))) {
                break false;
            },
            changed = go.changed() => break changed.is_ok(),
        }
    };
    let answered = match asked {
        true => call(&mut socket, "health", json!({})).await,
        false => Err("closed while idle".into()),
    };
    let _ = told
        .send(answered.is_ok_and(|answer| answer["ok"] == true))
        .await;
    while let Some(Ok(_)) = socket.next().await {}
}

async fn idle(gateway: &Gateway, pid: u32, count: usize) -> Result<(), Failure> {
    let gateway = Arc::new(gateway.clone());
    let (before, _) = size_of(pid)?;
    let (go, signal) = watch::channel(false);
    let (told, mut words) = mpsc::channel(count.max(1));
    let mut clients = JoinSet::new();
    let began = Instant::now();
    gateway
        .open_many(count, |socket| {
            clients.spawn(stays(socket, signal.clone(), told.clone()));
        })
        .await?;
    let took = began.elapsed();
    drop(told);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (after, files) = size_of(pid)?;
    let each = after.saturating_sub(before) as f64 / count as f64;
    figure("idle connections", count)?;
    figure(
        "idle sign-ins a second",
        (count as f64 / took.as_secs_f64()).round(),
    )?;
    figure("idle kB each", format!("{each:.1}"))?;
    figure("idle memory, MB", format!("{:.1}", after as f64 / 1024.0))?;
    figure("idle descriptors", files)?;
    let began = Instant::now();
    go.send(true)?;
    let mut good = 0;
    for _ in 0..count {
        good += usize::from(
            tokio::time::timeout(DEADLINE, words.recv())
                .await?
                .unwrap_or(false),
        );
    }
    figure("idle sweep of health, ms", began.elapsed().as_millis())?;
    figure("idle sweep answered", good)?;
    clients.shutdown().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (left, files) = size_of(pid)?;
    figure(
        "idle memory when they are gone, MB",
        format!("{:.1}", left as f64 / 1024.0),
    )?;
    figure("idle descriptors when they are gone", files)
}

/// What the busy clients saw.
#[derive(Default)]
struct Seen {
    finals: AtomicU64,
    /// The same by client: all have to see the same.
    each: Vec<AtomicU64>,
    closed: AtomicU64,
    /// Microseconds of each `health`.
    waits: Mutex<Vec<u64>>,
}

impl Seen {
    async fn median_and_worst(&self) -> (u64, u64, u64) {
        let mut waits = std::mem::take(&mut *self.waits.lock().await);
        waits.sort_unstable();
        let at = |share: usize| waits.get(waits.len().saturating_sub(1) * share / 100);
        (
            at(50).copied().unwrap_or(0),
            at(99).copied().unwrap_or(0),
            at(100).copied().unwrap_or(0),
        )
    }
}

/// Reads everything and asks for `health` about once a second.
async fn takes_part(mut socket: Socket, place: usize, seen: Arc<Seen>) {
    let mut asks = tokio::time::interval(Duration::from_secs(1));
    tokio::time::sleep(Duration::from_millis((place % 1000) as u64)).await;
    let mut asked = None;
    loop {
        tokio::select! {
            _ = asks.tick(), if asked.is_none() => {
                asked = Some(Instant::now());
                let request = r#"{"type":"req","id":"h","method":"health","params":{}}"#;
                if socket.send(Message::text(request)).await.is_err() {
                    break;
                }
            }
            frame = socket.next() => match frame {
                Some(Ok(Message::Text(text))) => {
                    let text = text.as_str();
                    if text.starts_with(r#"{"type":"res""#) {
                        if let Some(at) = asked.take() {
                            let wait = u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX);
                            seen.waits.lock().await.push(wait);
                        }
                    } else if text.contains(r#""event":"chat""#) && text.contains(r#""state":"final""#) {
                        seen.finals.fetch_add(1, Ordering::Relaxed);
                        if let Some(own) = seen.each.get(place) {
                            own.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
    }
    seen.closed.fetch_add(1, Ordering::Relaxed);
}

async fn busy(gateway: &Gateway, count: usize, silent: usize) -> Result<(), Failure> {
    let gateway = Arc::new(gateway.clone());
    let seen = Arc::new(Seen {
        each: (0..count).map(|_| AtomicU64::new(0)).collect(),
        ..Seen::default()
    });
    let mut clients = JoinSet::new();
    let mut place = 0;
    gateway
        .open_many(count, |socket| {
            clients.spawn(takes_part(socket, place, Arc::clone(&seen)));
            place += 1;
        })
        .await?;
    let mut driver = gateway.open(false).await?;
    let answers = |wanted: u64| {
        let seen = Arc::clone(&seen);
        async move {
            let began = Instant::now();
            while seen.finals.load(Ordering::Relaxed) < wanted && began.elapsed() < DEADLINE {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            began.elapsed()
        }
    };
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (median, late, worst) = seen.median_and_worst().await;
    figure(
        "busy health alone, µs p50/p99/worst",
        format!("{median}/{late}/{worst}"),
    )?;

    let mut quiet = Vec::new();
    for _ in 0..silent {
        let mut socket = gateway.open(true).await?;
        call(&mut socket, "sessions.subscribe", json!({})).await?;
        quiet.push(socket);
    }
    let all = count + silent + 1;
    let (began, mut sent, mut small, mut slowest) = (Instant::now(), 0_u64, 0_u64, Duration::ZERO);
    let large = "x".repeat(200_000);
    let mut cut_after = None;
    while began.elapsed() < DEADLINE && cut_after.is_none() {
        sent += 1;
        let params = json!({"sessionKey": "agent:main:large", "message": large, "idempotencyKey": format!("l{sent}-{}", std::process::id())});
        call(&mut driver, "chat.send", params).await?;
        call(
            &mut driver,
            "chat.abort",
            json!({"sessionKey": "agent:main:large"}),
        )
        .await?;
        if sent % 10 == 0 {
            small += 1;
            let before = seen.finals.load(Ordering::Relaxed);
            let params = json!({"sessionKey": "agent:main:small", "message": "to all", "idempotencyKey": format!("s{small}-{}", std::process::id())});
            call(&mut driver, "chat.send", params).await?;
            slowest = slowest.max(answers(before + count as u64).await);
        }
        let health = call(&mut driver, "health", json!({})).await?;
        if health["payload"]["connections"].as_u64() == Some((all - silent) as u64) {
            cut_after = Some(began.elapsed());
        }
    }
    let (median, late, worst) = seen.median_and_worst().await;
    figure(
        "busy health beside silent ones, µs p50/p99/worst",
        format!("{median}/{late}/{worst}"),
    )?;
    figure("busy answers broadcast", small)?;
    figure(
        "busy answer at all clients, slowest, ms",
        slowest.as_millis(),
    )?;
    figure(
        "busy answers seen by clients",
        format!(
            "{} of {}",
            seen.finals.load(Ordering::Relaxed),
            small * count as u64
        ),
    )?;
    figure(
        "busy clients that were cut",
        seen.closed.load(Ordering::Relaxed),
    )?;
    match cut_after {
        Some(after) => figure(
            "busy silent ones cut",
            format!(
                "{silent}, after {:.1} s and {sent} large messages",
                after.as_secs_f64()
            ),
        )?,
        None => figure("busy silent ones cut", "not all")?,
    }
    let (told, mut words) = mpsc::channel(silent.max(1));
    for mut socket in quiet {
        let told = told.clone();
        tokio::spawn(async move {
            let word = loop {
                match tokio::time::timeout(DEADLINE, socket.next()).await {
                    Ok(Some(Ok(Message::Close(frame)))) => {
                        break frame.map_or("closed".to_owned(), |f| {
                            format!("{} {}", u16::from(f.code), f.reason)
                        });
                    }
                    Ok(Some(Ok(_))) => {}
                    Ok(Some(Err(error))) => break error.to_string(),
                    Ok(None) => break "closed".to_owned(),
                    Err(_) => break "still open".to_owned(),
                }
            };
            let _ = told.send(word).await;
        });
    }
    drop(told);
    while let Some(word) = words.recv().await {
        figure("busy a silent one read at last", word)?;
    }
    clients.abort_all();
    Ok(())
}
