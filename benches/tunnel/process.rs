//! Child processes and what the system says about them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// How long a process may take to end when asked.
const GOODBYE: Duration = Duration::from_secs(3);

/// A child process that ends with its owner.
pub struct Process(Child);

impl Process {
    pub fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn();
        Ok(Self(
            child.with_context(|| format!("cannot start {program}"))?,
        ))
    }

    /// This program in another role; returns it with the port that it announced.
    pub fn role(args: &[String]) -> anyhow::Result<(Self, u16)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Self::spawn(&mut command)?;
        let said = process.0.stdout.take().context("no standard output")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let port = line.trim().parse();
        let role = args.join(" ");
        Ok((
            process,
            port.with_context(|| format!("{role} has no port"))?,
        ))
    }

    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Seconds of processor it has used so far, its own and the system's on its behalf.
    pub fn cpu(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        // The name in brackets may hold anything, spaces too.
        let fields = stat
            .rsplit_once(')')
            .context("no name in /proc/PID/stat")?
            .1;
        let ticks: u64 = (fields.split_whitespace().skip(11).take(2))
            .map(|field| field.parse::<u64>().unwrap_or_default())
            .sum();
        let a_second = sysconf(SysconfVar::CLK_TCK)?.unwrap_or(100);
        Ok(ticks as f64 / a_second as f64)
    }

    /// Resident memory in kB.
    pub fn memory(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("no VmRSS in /proc/PID/status")?.parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let until = Instant::now() + GOODBYE;
        while !self.has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says on standard output where this process listens.
pub fn announce(port: u16) -> anyhow::Result<()> {
    println!("{port}");
    Ok(std::io::stdout().flush()?)
}

/// Ends this process when its parent closes its standard input, which it does also when it is killed.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
}

/// Where a program is, from PATH.
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// The first line that a program prints, wherever it prints it.
pub fn first_line(program: &str, arg: &str) -> anyhow::Result<String> {
    let output = Command::new(program).arg(arg).output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said
        .lines()
        .next()
        .ok_or_else(|| anyhow!("{program} says nothing"))?;
    Ok(line.to_owned())
}
