//! What is measured, section by section.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use crate::line::Nature;
use crate::measure::{self, Beside, Direction};
use crate::options::{Options, SECTIONS};
use crate::process::first_line;
use crate::stand::Stand;
use crate::table::{Better, Rounds, Row};
use crate::tunnel::{Kind, Tunnel};

/// A line across an ocean that carries whatever comes.
const FAR: Nature = Nature {
    delay: Duration::from_millis(50),
    rate: None,
};
/// A line from home to a server: 100 Mbit/s.
const HOME: Nature = Nature {
    delay: Duration::from_millis(15),
    rate: Some(12.5e6),
};
/// Connections opened one after the other in a round of `setup`.
const SET_UPS: usize = 100;
/// Numbers of open connections at which memory is read.
const OPEN: [usize; 3] = [1, 100, 1000];
/// How long sshd is away in a round of `reconnect`; the rest of a quarter second differs from round to round.
const AWAY: Duration = Duration::from_secs(3);

/// Measures what is asked for and prints it.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
    let mut bench = Bench {
        stand: Stand::start(options)?,
        options,
        rows: Vec::new(),
    };
    for section in SECTIONS.into_iter().filter(|name| options.wants(name)) {
        match section {
            "start" => bench.start(),
            "setup" => bench.setup(),
            "echo" => bench.echo(),
            "throughput" => bench.throughput(),
            "distance" => bench.distance(),
            "home" => bench.home(),
            "memory" => bench.memory(),
            _ => bench.reconnect(),
        }
        .with_context(|| format!("section {section}"))?;
    }
    let ssh = first_line("ssh", "-V")?;
    let cores = std::thread::available_parallelism()?;
    if options.json {
        let rows: Vec<_> = bench.rows.iter().map(Row::json).collect();
        let all = json!({ "v": 1, "ssh": ssh, "cores": cores, "loadAtStart": load, "rows": rows });
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    println!(
        "{cores} cores, load at start {load}, {ssh}; median of {} rounds.\n",
        options.rounds
    );
    println!("| what | clawline | peer | times as good | target |");
    println!("|---|---|---|---|---|");
    for row in &bench.rows {
        println!("{}", row.markdown());
    }
    Ok(())
}

struct Bench<'a> {
    stand: Stand,
    options: &'a Options,
    rows: Vec<Row>,
}

impl Bench<'_> {
    fn row(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        better: Better,
        target: impl Into<Option<f64>>,
        rounds: Rounds,
    ) {
        self.row_against("ssh -L", what, unit, better, target, rounds);
    }

    fn row_against(
        &mut self,
        peer: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        better: Better,
        target: impl Into<Option<f64>>,
        rounds: Rounds,
    ) {
        let row = Row {
            what: what.into(),
            unit,
            peer,
            better,
            target: target.into(),
            rounds,
        };
        eprintln!("{}", row.markdown());
        self.rows.push(row);
    }

    /// Both tunnels to the sshd behind `ssh_port`, up and used once.
    fn both(&self, ssh_port: u16) -> anyhow::Result<[Tunnel; 2]> {
        Ok([
            Tunnel::start_usable(Kind::Clawline, &self.stand, ssh_port)?,
            Tunnel::start_usable(Kind::Ssh, &self.stand, ssh_port)?,
        ])
    }

    /// Asks both sides in each round, the other one first in every second round.
    fn rounds<const N: usize>(
        &self,
        mut ask: impl FnMut(Kind) -> anyhow::Result<[f64; N]>,
        peer: Kind,
    ) -> anyhow::Result<[Rounds; N]> {
        let mut rounds = std::array::from_fn(|_| Rounds::default());
        for round in 0..self.options.rounds {
            let mut sides = [Kind::Clawline, peer];
            if round % 2 == 1 {
                sides.reverse();
            }
            for side in sides {
                let figures = ask(side).with_context(|| format!("{side:?}"))?;
                for (rounds, figure) in rounds.iter_mut().zip(figures) {
                    match side {
                        Kind::Clawline => rounds.ours.push(figure),
                        Kind::Ssh | Kind::Autossh => rounds.theirs.push(figure),
                    }
                }
            }
        }
        Ok(rounds)
    }

    /// From the start of the process to the first byte that came back.
    fn start(&mut self) -> anyhow::Result<()> {
        let port = self.stand.sshd.port();
        let once = |kind| {
            let started = Instant::now();
            let mut tunnel = Tunnel::start(kind, &self.stand, port)?;
            tunnel.wait_until_usable()?;
            Ok([started.elapsed().as_secs_f64() * 1e3])
        };
        let [rounds] = self.rounds(once, Kind::Ssh)?;
        let what = "start of the process to the first byte through the tunnel";
        self.row(what, "ms", Better::Lower, None, rounds);
        Ok(())
    }

    /// From connecting to the first byte that came back, through a tunnel that is up.
    fn setup(&mut self) -> anyhow::Result<()> {
        let both = self.both(self.stand.sshd.port())?;
        let once = |kind| {
            let port = of(&both, kind).port;
            let mut all = (0..SET_UPS)
                .map(|_| Ok(measure::first_byte(port)?.as_secs_f64() * 1e6))
                .collect::<anyhow::Result<Vec<_>>>()?;
            all.sort_by(f64::total_cmp);
            Ok([all[SET_UPS / 2]])
        };
        let [rounds] = self.rounds(once, Kind::Ssh)?;
        self.row(
            "connect to first byte",
            "µs p50",
            Better::Lower,
            None,
            rounds,
        );
        Ok(())
    }

    fn echo(&mut self) -> anyhow::Result<()> {
        let both = self.both(self.stand.sshd.port())?;
        let cases = [
            ("alone", None),
            ("beside a download", Some(Direction::Download)),
            ("beside an upload", Some(Direction::Upload)),
        ];
        for (name, direction) in cases {
            let once = |kind| {
                let port = of(&both, kind).port;
                let _beside = direction.map(|way| Beside::start(port, way)).transpose()?;
                let (p50, p99) = measure::echoes(port, self.options.echoes)?;
                Ok([p50, p99])
            };
            let [p50, p99] = self.rounds(once, Kind::Ssh)?;
            let what = format!("echo of 64 bytes {name}");
            self.row(&what, "µs p50", Better::Lower, 1.0, p50);
            self.row(&what, "µs p99", Better::Lower, 1.0, p99);
        }
        Ok(())
    }

    fn throughput(&mut self) -> anyhow::Result<()> {
        let both = self.both(self.stand.sshd.port())?;
        for (what, way) in [
            ("download", Direction::Download),
            ("upload", Direction::Upload),
        ] {
            let [speed, cpu] = self.transfers(&both, way)?;
            self.row(
                format!("{what} on loopback"),
                "MB/s",
                Better::Higher,
                1.2,
                speed,
            );
            let cost = format!("processor of the client, {what}");
            self.row(cost, "s/GB", Better::Lower, 1.0, cpu);
        }
        Ok(())
    }

    fn distance(&mut self) -> anyhow::Result<()> {
        let (_line, port) = self.stand.line(FAR)?;
        let both = self.both(port)?;
        let [down, _] = self.transfers(&both, Direction::Download)?;
        let [up, _] = self.transfers(&both, Direction::Upload)?;
        let trip = format!("at {} ms round trip", 2 * FAR.delay.as_millis());
        self.row(
            format!("download {trip}"),
            "MB/s",
            Better::Higher,
            5.0,
            down,
        );
        self.row(format!("upload {trip}"), "MB/s", Better::Higher, None, up);
        let [p50, p99] = self.rounds(
            |kind| {
                let (p50, p99) = measure::echoes(of(&both, kind).port, self.options.echoes)?;
                Ok([p50 / 1e3, p99 / 1e3])
            },
            Kind::Ssh,
        )?;
        self.row(format!("echo {trip}"), "ms p50", Better::Lower, None, p50);
        self.row(format!("echo {trip}"), "ms p99", Better::Lower, None, p99);
        Ok(())
    }

    /// What a line that is full does to what else goes over it.
    fn home(&mut self) -> anyhow::Result<()> {
        let (_line, port) = self.stand.line(HOME)?;
        let both = self.both(port)?;
        let [down, _] = self.transfers(&both, Direction::Download)?;
        let line = "100 Mbit/s and 30 ms";
        self.row(
            format!("download over {line}"),
            "MB/s",
            Better::Higher,
            None,
            down,
        );
        let once = |kind| {
            let port = of(&both, kind).port;
            let _beside = Beside::start(port, Direction::Download)?;
            let (p50, p99) = measure::echoes(port, self.options.echoes)?;
            Ok([p50 / 1e3, p99 / 1e3])
        };
        let [p50, p99] = self.rounds(once, Kind::Ssh)?;
        let what = format!("echo beside a download over {line}");
        self.row(&what, "ms p50", Better::Lower, None, p50);
        self.row(&what, "ms p99", Better::Lower, None, p99);
        Ok(())
    }

    fn transfers(&self, both: &[Tunnel; 2], way: Direction) -> anyhow::Result<[Rounds; 2]> {
        let once = |kind| {
            let tunnel = of(both, kind);
            let length = self.options.transfer;
            let transfer = measure::transfer(tunnel.port, way, length, &tunnel.process)?;
            Ok([transfer.speed, transfer.cpu])
        };
        self.rounds(once, Kind::Ssh)
    }

    /// Memory of fresh tunnels that hold more and more connections, each used once.
    fn memory(&mut self) -> anyhow::Result<()> {
        let port = self.stand.sshd.port();
        let once = |kind| {
            let tunnel = Tunnel::start_usable(kind, &self.stand, port)?;
            let mut held = Vec::new();
            let mut figures = [0.0; OPEN.len()];
            for (count, figure) in OPEN.into_iter().zip(&mut figures) {
                while held.len() < count {
                    held.push(measure::connect(tunnel.port)?.0);
                }
                *figure = tunnel.process.memory()? / 1024.0;
            }
            Ok(figures)
        };
        let rounds = self.rounds(once, Kind::Ssh)?;
        for (count, rounds) in OPEN.into_iter().zip(rounds) {
            let what = format!("memory with {count} open connections");
            self.row(what, "MB", Better::Lower, None, rounds);
        }
        Ok(())
    }

    /// From sshd listening again to the first byte that came back.
    fn reconnect(&mut self) -> anyhow::Result<()> {
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for round in 0..self.options.rounds {
            // Neither side's next try falls at the same moment in every round.
            let away = AWAY + Duration::from_millis(83) * u32::try_from(round % 3)?;
            ours.push(self.reconnect_once(Kind::Clawline, away)?);
            theirs.push(self.reconnect_once(Kind::Autossh, away)?);
        }
        let what = "sshd listens again to the first byte through the tunnel";
        let rounds = Rounds { ours, theirs };
        self.row_against("autossh", what, "ms", Better::Lower, 1.0, rounds);
        Ok(())
    }

    fn reconnect_once(&mut self, kind: Kind, away: Duration) -> anyhow::Result<f64> {
        let mut tunnel = Tunnel::start_usable(kind, &self.stand, self.stand.sshd.port())?;
        let sessions = self.stand.sshd.sessions();
        self.stand.sshd.kill_listener();
        for session in sessions {
            let _ = nix::sys::signal::kill(session, nix::sys::signal::Signal::SIGKILL);
        }
        std::thread::sleep(away);
        self.stand.sshd.start_again();
        Ok(tunnel.wait_until_usable()?.as_secs_f64() * 1e3)
    }
}

fn of(both: &[Tunnel; 2], kind: Kind) -> &Tunnel {
    &both[usize::from(kind != Kind::Clawline)]
}
