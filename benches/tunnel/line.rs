//! A long line between client and sshd, in a process of its own: every byte arrives late, none is lost, and
//! the line itself is never full.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::far_end::PIECE;
use crate::process::{announce, end_with_parent};

/// Pieces on the way at most, a direction.
const ON_THE_WAY: usize = 16 * 1024;

/// Carries until the parent process is gone; says its port on standard output.
pub fn run(server: SocketAddr, delay: Duration) -> anyhow::Result<()> {
    end_with_parent();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(listener.local_addr()?.port())?;
    for near in listener.incoming().flatten() {
        let Ok(far) = TcpStream::connect(server) else {
            continue;
        };
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        carry(near.try_clone()?, far.try_clone()?, delay);
        carry(far, near, delay);
    }
    Ok(())
}

type Piece = (Instant, Vec<u8>);

fn carry(from: TcpStream, to: TcpStream, delay: Duration) {
    let (into, line) = sync_channel::<Piece>(ON_THE_WAY);
    std::thread::spawn(move || take(from, &into, delay));
    std::thread::spawn(move || deliver(&line, to));
}

fn take(mut from: TcpStream, into: &SyncSender<Piece>, delay: Duration) {
    let mut buffer = vec![0; PIECE];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if into
            .send((Instant::now() + delay, buffer[..read].to_vec()))
            .is_err()
        {
            return;
        }
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
