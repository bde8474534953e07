//! A long line between client and sshd, in a process of its own: every byte arrives late and none is lost.
//! It carries as much as comes, or so much a second.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::far_end::PIECE;
use crate::process::{announce, end_with_parent};

/// Pieces on the way at most, a direction.
const ON_THE_WAY: usize = 16 * 1024;
/// One read where the line has a limit.
const SMALL_PIECE: usize = 16 * 1024;
/// How much of its capacity the line takes ahead.
const QUEUE: Duration = Duration::from_millis(5);

/// How a line is.
#[derive(Debug, Clone, Copy)]
pub struct Nature {
    /// How late each direction is.
    pub delay: Duration,
    /// Bytes a second, each direction; none is without a limit.
    pub rate: Option<f64>,
}

/// Carries until the parent process is gone; says its port on standard output.
pub fn run(server: SocketAddr, nature: Nature) -> anyhow::Result<()> {
    end_with_parent();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(listener.local_addr()?.port())?;
    for near in listener.incoming().flatten() {
        let Ok(far) = TcpStream::connect(server) else {
            continue;
        };
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        carry(near.try_clone()?, far.try_clone()?, nature);
        carry(far, near, nature);
    }
    Ok(())
}

type Piece = (Instant, Vec<u8>);

fn carry(from: TcpStream, to: TcpStream, nature: Nature) {
    let (into, line) = sync_channel::<Piece>(ON_THE_WAY);
    std::thread::spawn(move || take(from, &into, nature));
    std::thread::spawn(move || deliver(&line, to));
}

fn take(mut from: TcpStream, into: &SyncSender<Piece>, nature: Nature) {
    let mut buffer = vec![0; nature.rate.map_or(PIECE, |_| SMALL_PIECE)];
    let mut free = Instant::now();
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let now = Instant::now();
        let took = nature.rate.map_or(0.0, |rate| read as f64 / rate);
        free = free.max(now) + Duration::from_secs_f64(took);
        if into
            .send((free + nature.delay, buffer[..read].to_vec()))
            .is_err()
        {
            return;
        }
        // What does not fit waits with the sender, as in front of a slow router.
        std::thread::sleep((free - now).saturating_sub(QUEUE));
    }
}

fn deliver(line: &Receiver<Piece>, mut to: TcpStream) {
    for (due, piece) in line {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
