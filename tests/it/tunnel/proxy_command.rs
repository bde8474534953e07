//! A `ProxyCommand` as the way to the server, with nothing but a shell and `cat`.

use std::path::PathBuf;
use std::time::Duration;

use clawline::layer::Layer;
use clawline::loopback_ssh::LoopbackOptions;
use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::spec::HopSpec;
use clawline::tunnel::{Tunnel, TunnelOptions};
use nix::sys::stat::Mode;
use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use crate::support::{
    BUSY, Echo, SshWorld, echo_works, eventually, spec_of, until_up, view_where, why,
};

/// Two named pipes whose other ends lead to a server. A command that copies its input into one and
/// the other to its output is a way to the server.
struct Bridge {
    to_server: PathBuf,
    from_server: PathBuf,
    task: JoinHandle<()>,
}

impl Bridge {
    fn new(world: &SshWorld) -> Self {
        let to_server = world.home.path().join("to-server");
        let from_server = world.home.path().join("from-server");
        for path in [&to_server, &from_server] {
            nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap();
        }
        // Both opened for both ways: no end waits for the other to come.
        let open = |path: &PathBuf| {
            let mut options = pipe::OpenOptions::new();
            options.read_write(true);
            (
                options.open_receiver(path).unwrap(),
                options.open_sender(path).unwrap(),
            )
        };
        let (mut from_command, _keep_to) = open(&to_server);
        let (_keep_from, mut to_command) = open(&from_server);
        let server = world.server.addr;
        let task = tokio::spawn(async move {
            let _keep = (_keep_to, _keep_from);
            let (mut read, mut write) = TcpStream::connect(server).await.unwrap().into_split();
            let _ = tokio::join!(
                tokio::io::copy(&mut from_command, &mut write),
                tokio::io::copy(&mut read, &mut to_command),
            );
        });
        Self {
            to_server,
            from_server,
            task,
        }
    }

    /// The command; it leaves its process id in `pid`.
    fn command(&self, pid: &std::path::Path) -> String {
        format!(
            "sh -c 'echo $$ > {pid}.new && mv {pid}.new {pid}; cat {from} & exec cat > {to}'",
            pid = pid.display(),
            from = self.from_server.display(),
            to = self.to_server.display(),
        )
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_alive(pid: &str) -> bool {
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, None).is_ok()
}

#[tokio::test]
async fn a_command_is_the_way_to_the_server_and_ends_with_the_tunnel() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let bridge = Bridge::new(&world);
    let pid = world.home.path().join("pid");
    let hop = HopSpec {
        // Where the command leads is its own affair; known_hosts goes by the name.
        host: "127.0.0.1".into(),
        proxy_command: Some(bridge.command(&pid)),
        ..world.hop()
    };
    let echo = Echo::start().await;
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
    until_up(&mut tunnel.view()).await;
    let mut stream = tunnel.open(&echo.remote()).await.unwrap();
    assert!(echo_works(&mut stream).await);
    let pid = std::fs::read_to_string(&pid).unwrap();
    assert!(is_alive(&pid));
    tunnel.stop().await;
    eventually("the end of the command", || !is_alive(&pid)).await;
}

#[tokio::test]
async fn a_command_that_cannot_get_there_is_told_in_its_own_words() {
    let world = SshWorld::new(LoopbackOptions::default()).await;
    let hop = HopSpec {
        proxy_command: Some("sh -c 'echo cannot find %h:%p >&2; exit 4'".into()),
        ..world.hop()
    };
    let far = format!("cannot find {}:{}", hop.host, hop.port);
    let started = std::time::Instant::now();
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
    let view = view_where(&mut tunnel.view(), "told", |view| why(view).is_some()).await;
    let error = why(&view).unwrap();
    assert!(started.elapsed() < Duration::from_secs(2) + BUSY);
    assert_eq!(error.layer, Layer::Tcp);
    assert!(error.what.ends_with("ended (exit status 4)"), "{error}");
    assert_eq!(error.peer_text, far);
    tunnel.stop().await;
}
