//! What both tunnels share: sshd, the far end, the program to measure, and the options that reach them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::line::Nature;
use crate::options::Options;
use crate::process::{Process, find};
use crate::support::sshd::{Sshd, local_user};

/// The measuring stand. Everything it started ends with it.
pub struct Stand {
    pub sshd: Sshd,
    pub clawline: PathBuf,
    pub far_port: u16,
    _far_end: Process,
    home: tempfile::TempDir,
}

impl Stand {
    /// Checks that all is there, builds what is measured, starts what it needs.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        ensure!(
            cfg!(target_os = "linux"),
            "this bench reads /proc, which only Linux has"
        );
        need("ssh", "openssh-client")?;
        ensure!(
            Path::new("/usr/sbin/sshd").is_file(),
            "there is no /usr/sbin/sshd; install openssh-server"
        );
        if options.wants("reconnect") {
            need("autossh", "autossh")?;
        }
        let clawline = match &options.clawline {
            Some(file) => std::path::absolute(file)?,
            None => build()?,
        };
        ensure!(clawline.is_file(), "there is no {}", clawline.display());
        let (far_end, far_port) = Process::role(&["far-end".to_owned()])?;
        Ok(Self {
            sshd: Sshd::start(""),
            clawline,
            far_port,
            _far_end: far_end,
            home: tempfile::TempDir::with_prefix("clawline-bench-")?,
        })
    }

    /// A line to sshd, and the port at its near end.
    pub fn line(&self, nature: Nature) -> anyhow::Result<(Process, u16)> {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, self.sshd.port()));
        let delay = nature.delay.as_millis().to_string();
        let mut args = vec!["line".to_owned(), server.to_string(), delay];
        args.extend(nature.rate.map(|rate| rate.to_string()));
        Process::role(&args)
    }

    /// `program` in surroundings of its own, with the options that both clients understand.
    pub fn client(&self, program: &Path, ssh_port: u16) -> Command {
        let mut command = Command::new(program);
        command.env("HOME", self.home.path());
        command.env("CLAWLINE_STATE_DIR", self.home.path());
        command.env_remove("SSH_AUTH_SOCK");
        command.args(["-F", "none", "-p", &ssh_port.to_string(), "-i"]);
        command.arg(self.sshd.path("id"));
        for option in [
            format!(
                "UserKnownHostsFile={}",
                self.sshd.path("known_hosts").display()
            ),
            format!("HostKeyAlias=[127.0.0.1]:{}", self.sshd.port()),
            "BatchMode=yes".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }

    /// USER@HOST.
    pub fn target(&self) -> String {
        format!("{}@127.0.0.1", local_user())
    }
}

fn need(program: &str, package: &str) -> anyhow::Result<()> {
    if find(program).is_none() {
        bail!("{program} is not in PATH; install {package}");
    }
    Ok(())
}

/// Builds the program for release, beside this one.
fn build() -> anyhow::Result<PathBuf> {
    eprintln!("building clawline for release");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--package", "clawline-tui"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "clawline does not build");
    let this = std::env::current_exe()?;
    let release = this
        .ancestors()
        .nth(2)
        .context("this program is in no target directory")?;
    Ok(release.join("clawline"))
}
