//! The program behind the tunnel, in a process of its own: a source, a sink and an echo, whichever the first
//! byte of a connection asks for.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::process::{announce, end_with_parent};

/// First byte of a connection: send without end.
pub const SOURCE: u8 = b'd';
/// First byte of a connection: take everything.
pub const SINK: u8 = b'u';
/// First byte of a connection: send back what comes.
pub const ECHO: u8 = b'e';
/// One read or write; large enough that system calls do not count.
pub const PIECE: usize = 256 * 1024;
/// A thousand threads that only wait need no more.
const STACK: usize = 64 * 1024;

/// Serves until the parent process is gone; says its port on standard output.
pub fn run() -> anyhow::Result<()> {
    end_with_parent();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(listener.local_addr()?.port())?;
    for stream in listener.incoming().flatten() {
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || serve(stream))?;
    }
    Ok(())
}

/// A connection that breaks is one that was measured to its end.
fn serve(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut kind = [0];
    if stream.read_exact(&mut kind).is_err() {
        return;
    }
    match kind[0] {
        SOURCE => {
            let piece = vec![b'x'; PIECE];
            while stream.write_all(&piece).is_ok() {}
        }
        SINK => {
            let mut piece = vec![0; PIECE];
            while stream.read(&mut piece).is_ok_and(|read| read > 0) {}
        }
        _ => {
            let mut piece = vec![0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut piece) {
                if stream.write_all(&piece[..read]).is_err() {
                    return;
                }
            }
        }
    }
}
