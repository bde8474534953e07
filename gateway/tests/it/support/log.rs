//! What the gateways inside these tests write into their log about connections, all of them together.
//!
//! It is there before the first gateway is: a log of one test's own would come and go beside the others,
//! and what was first reached from another thread would never be in it.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use tracing_subscriber::EnvFilter;

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("clawline_gateway::conn=trace"))
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .try_init()
        .unwrap();
    log
});

/// The log.
pub fn log() -> &'static Log {
    &LOG
}

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Up to now.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
