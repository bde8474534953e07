//! What can be typed after `cargo bench --bench tunnel --`, and the roles this program plays in processes of
//! its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::line::Nature;

/// The sections, in the order in which they run.
pub const SECTIONS: [&str; 8] = [
    "start",
    "setup",
    "echo",
    "throughput",
    "distance",
    "home",
    "memory",
    "reconnect",
];

/// What to measure and how long.
pub struct Options {
    /// Rounds of each measurement; the median counts.
    pub rounds: usize,
    /// How long one transfer is measured, after it has found its pace.
    pub transfer: Duration,
    /// How long one round of echoes takes.
    pub echoes: Duration,
    /// Print JSON instead of a table.
    pub json: bool,
    /// Measure this program instead of building one.
    pub clawline: Option<PathBuf>,
    sections: Vec<String>,
}

impl Options {
    /// True when this section is asked for; nothing asked for is everything.
    pub fn wants(&self, section: &str) -> bool {
        self.sections.is_empty() || self.sections.iter().any(|name| name == section)
    }

    /// Reads the arguments of this process.
    pub fn from_args() -> anyhow::Result<Role> {
        let mut args = std::env::args().skip(1).peekable();
        match args.peek().map(String::as_str) {
            Some("far-end") => return Ok(Role::FarEnd),
            Some("line") => {
                let server = args.nth(1).context("a line needs a server")?.parse()?;
                let delay = args.next().context("a line needs a delay")?.parse()?;
                let delay = Duration::from_millis(delay);
                let rate = args.next().map(|rate| rate.parse()).transpose()?;
                return Ok(Role::Line(server, Nature { delay, rate }));
            }
            _ => {}
        }
        let mut options = Self {
            rounds: 5,
            transfer: Duration::from_secs(3),
            echoes: Duration::from_secs(2),
            json: false,
            clawline: None,
            sections: Vec::new(),
        };
        let mut asked_for = false;
        let mut rounds = None;
        while let Some(arg) = args.next() {
            match arg.as_str() {
                // What `cargo bench` adds, and `cargo test --benches` does not.
                "--bench" => asked_for = true,
                "--json" => options.json = true,
                "--quick" => {
                    options.rounds = 3;
                    options.transfer = Duration::from_secs(2);
                    options.echoes = Duration::from_secs(1);
                }
                "--rounds" => {
                    let number = args.next().context("--rounds needs a number")?;
                    rounds = Some(number.parse().context("--rounds needs a number")?);
                }
                "--clawline" => {
                    let file = args.next().context("--clawline needs a file")?;
                    options.clawline = Some(file.into());
                }
                section if SECTIONS.contains(&section) => options.sections.push(arg),
                _ => bail!(
                    "{arg} is not known; there are --quick, --json, --rounds N, --clawline FILE \
                     and the sections {}",
                    SECTIONS.join(", ")
                ),
            }
        }
        options.rounds = rounds.unwrap_or(options.rounds);
        if options.rounds == 0 {
            bail!("--rounds needs at least 1");
        }
        Ok(if asked_for {
            Role::Bench(options)
        } else {
            Role::Nothing
        })
    }
}

/// What this process is.
pub enum Role {
    /// Run as a test: there is nothing to test.
    Nothing,
    /// The one that measures.
    Bench(Options),
    /// The program behind the tunnel.
    FarEnd,
    /// A line between client and sshd, and where it leads.
    Line(SocketAddr, Nature),
}
