//! The near end of the tunnel: one measurement a function.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::far_end::{ECHO, PIECE, SINK, SOURCE};
use crate::process::Process;

/// How long a transfer runs before it is measured.
const PACE: Duration = Duration::from_secs(1);
/// How long an answer may take; longer is a tunnel that does not work.
const ANSWER: Duration = Duration::from_secs(5);
/// An echo, which is as long as a short message.
const MESSAGE: [u8; 64] = [b'p'; 64];
/// Echoes before the first that counts.
const WARM_UP: usize = 100;

/// Which way the bytes of a transfer go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Download,
    Upload,
}

/// What a transfer cost.
pub struct Transfer {
    /// Megabytes a second.
    pub speed: f64,
    /// Seconds of the client's processor for a gigabyte.
    pub cpu: f64,
}

/// Opens a connection of this kind through the tunnel.
fn open(port: u16, kind: u8) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    stream.write_all(&[kind])?;
    Ok(stream)
}

/// From connecting to the first byte that came back. The connection is returned open.
pub fn connect(port: u16) -> std::io::Result<(TcpStream, Duration)> {
    let started = Instant::now();
    let mut stream = open(port, ECHO)?;
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])?;
    Ok((stream, started.elapsed()))
}

/// Whether bytes pass, and how long the first took.
pub fn first_byte(port: u16) -> std::io::Result<Duration> {
    connect(port).map(|(_, took)| took)
}

/// Moves bytes for `length`, once the transfer has found its pace.
pub fn transfer(
    port: u16,
    direction: Direction,
    length: Duration,
    client: &Process,
) -> anyhow::Result<Transfer> {
    let mut mover = Mover::open(port, direction)?;
    mover.run(|elapsed| elapsed < PACE)?;
    let (cpu, started) = (client.cpu()?, Instant::now());
    let moved = mover.run(|elapsed| elapsed < length)?;
    let (cpu, took) = (client.cpu()? - cpu, started.elapsed());
    Ok(Transfer {
        speed: moved as f64 / 1e6 / took.as_secs_f64(),
        cpu: cpu / (moved as f64 / 1e9),
    })
}

/// One end of a transfer.
struct Mover {
    stream: TcpStream,
    direction: Direction,
    piece: Vec<u8>,
}

impl Mover {
    fn open(port: u16, direction: Direction) -> std::io::Result<Self> {
        let kind = match direction {
            Direction::Download => SOURCE,
            Direction::Upload => SINK,
        };
        let stream = open(port, kind)?;
        let piece = vec![0; PIECE];
        Ok(Self {
            stream,
            direction,
            piece,
        })
    }

    /// Moves bytes for as long as `goes_on` says so; how many.
    fn run(&mut self, goes_on: impl Fn(Duration) -> bool) -> std::io::Result<u64> {
        let started = Instant::now();
        let mut moved = 0;
        while goes_on(started.elapsed()) {
            moved += match self.direction {
                Direction::Download => self.stream.read(&mut self.piece)? as u64,
                Direction::Upload => self.stream.write(&self.piece)? as u64,
            };
        }
        Ok(moved)
    }
}

/// A transfer that runs beside something else until it is dropped.
pub struct Beside {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    pub fn start(port: u16, direction: Direction) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let mut mover = Mover::open(port, direction)?;
        mover.run(|elapsed| elapsed < PACE)?;
        let thread = std::thread::spawn(move || {
            let _ = mover.run(|_| !stopped.load(Ordering::Relaxed));
        });
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Round trips of one message after another, in microseconds: p50 and p99.
pub fn echoes(port: u16, length: Duration) -> anyhow::Result<(f64, f64)> {
    let mut stream = open(port, ECHO)?;
    let mut back = MESSAGE;
    let mut echo = || {
        let started = Instant::now();
        stream.write_all(&MESSAGE)?;
        stream.read_exact(&mut back)?;
        Ok::<_, std::io::Error>(started.elapsed().as_secs_f64() * 1e6)
    };
    for _ in 0..WARM_UP {
        echo()?;
    }
    let started = Instant::now();
    let mut all = Vec::new();
    while started.elapsed() < length {
        all.push(echo()?);
    }
    all.sort_by(f64::total_cmp);
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize];
    Ok((at(0.5), at(0.99)))
}
