//! Which addresses are listened on, who may then come in, and what is said when it cannot be.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use clawline_gateway::Gateway;
use clawline_gateway::policy::Policy;
use clawline_gateway::settings::{AuthMode, BindTo, GatewaySettings};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::program::{DEADLINE, said};
use crate::support::{self, Client, Connect, Device, ELSEWHERE, TestGateway, is_inside};

async fn on_lan() -> (TestGateway, SocketAddr) {
    let gateway = TestGateway::start_with(|settings| settings.bind = BindTo::Lan).await;
    let far = (ELSEWHERE, gateway.address.port()).into();
    (gateway, far)
}

fn node(connect: Connect) -> Connect {
    connect
        .set("/role", json!("node"))
        .set("/client/id", json!("node-host"))
        .set("/client/mode", json!("node"))
}

/// As recorded in `wire-auth-remote.jsonl`: nobody elsewhere is paired silently, whoever the user is.
#[tokio::test]
async fn peers_on_other_machines_get_what_official_gateways_give_them() {
    if !is_inside("bind::peers_on_other_machines_get_what_official_gateways_give_them") {
        return;
    }
    let (gateway, far) = on_lan().await;
    let cli = Connect::cli(4, &gateway.secret, &["operator.read"]);
    let paired = cli.clone().with_device(Device::new(1));
    let (first, code, reason) = Client::refused(far, &paired).await;
    assert_eq!(first["code"], "NOT_PAIRED", "{first}");
    assert_eq!(first["details"]["code"], "PAIRING_REQUIRED");
    assert_eq!(first["details"]["reason"], "not-paired");
    let id = first["details"]["requestId"].as_str().unwrap();
    assert_eq!(code, 1008);
    assert!(reason.contains(id), "{reason}");
    let (again, ..) = Client::refused(far, &paired).await;
    assert_eq!(again["details"]["requestId"], id);
    let more = paired.set("/scopes", json!(["operator.read", "operator.write"]));
    let (other, ..) = Client::refused(far, &more).await;
    assert_ne!(other["details"]["requestId"], id);
    let node = node(Connect::cli(4, &gateway.secret, &[])).with_device(Device::new(2));
    let (refused, ..) = Client::refused(far, &node).await;
    assert_eq!(refused["details"]["code"], "PAIRING_REQUIRED");
    for (id, mode) in [
        ("cli", "cli"),
        ("gateway-client", "backend"),
        ("cli", "probe"),
    ] {
        let connect = cli
            .clone()
            .set("/client/id", json!(id))
            .set("/client/mode", json!(mode));
        let (mut client, hello) = Client::connect(far, &connect).await;
        assert_eq!(hello["auth"]["scopes"], json!([]), "{id}/{mode}");
        client.error("sessions.list", json!({})).await;
    }
    let guess = Connect::cli(4, "bad", &["operator.read"]);
    let (refused, ..) = Client::refused(far, &guess).await;
    assert_eq!(refused["details"]["code"], "AUTH_TOKEN_MISMATCH");
    let words = refused["message"].as_str().unwrap();
    assert!(words.contains("set gateway.remote.token"), "{words}");
    // From this machine the same device is let in at once.
    Client::connect(gateway.address, &cli.with_device(Device::new(1))).await;
}

/// S5: who is local is what the socket says, whatever the request claims.
#[tokio::test]
async fn a_request_that_says_localhost_from_elsewhere_is_not_local() {
    if !is_inside("bind::a_request_that_says_localhost_from_elsewhere_is_not_local") {
        return;
    }
    let (gateway, far) = on_lan().await;
    let host = format!("localhost:{}", far.port());
    let origin = format!("http://{host}");
    let page = Client::try_open(far, &[("host", &host), ("origin", &origin)]).await;
    let Err((status, body)) = page else {
        panic!("a page of this machine, shown elsewhere, was let in");
    };
    assert_eq!(status, 403, "{body}");
    let mut claimed = Client::try_open(far, &[("host", &host)])
        .await
        .unwrap_or_else(|e| panic!("{e:?}"));
    let connect = Connect::cli(4, &gateway.secret, &["operator.admin"]).with_device(Device::new(3));
    let response = claimed.greet(&connect).await;
    assert_eq!(
        response["error"]["details"]["code"], "PAIRING_REQUIRED",
        "{response}"
    );
    // Without the check it is what it says: paired without a question, with all scopes.
    let open = Policy::leaving_out(|policy| policy.socket_locality = false);
    let open = TestGateway::start_under(open, |settings| settings.bind = BindTo::Lan).await;
    let far_open = (ELSEWHERE, open.address.port()).into();
    let host = format!("localhost:{}", open.address.port());
    let claimed = Client::try_open(far_open, &[("host", &host)]).await;
    let mut claimed = claimed.unwrap_or_else(|e| panic!("{e:?}"));
    let connect = Connect::cli(4, &open.secret, &["operator.admin"]).with_device(Device::new(3));
    let response = claimed.greet(&connect).await;
    assert_eq!(
        response["payload"]["auth"]["scopes"],
        json!(["operator.admin"])
    );
    // A name that was pointed at the gateway's address is none of its names.
    let Err((status, _)) = Client::try_open(far, &[("host", "evil.example")]).await else {
        panic!("a foreign name was answered");
    };
    assert_eq!(status, 421);
}

#[tokio::test]
async fn one_host_elsewhere_cannot_take_every_place_before_hello() {
    if !is_inside("bind::one_host_elsewhere_cannot_take_every_place_before_hello") {
        return;
    }
    let (gateway, far) = on_lan().await;
    let mut ours = Client::open(gateway.address).await;
    let mut first = TcpStream::connect(far).await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..140 {
        crowd.push(TcpStream::connect(far).await.unwrap());
    }
    let mut nothing = [0; 1];
    let evicted = timeout(DEADLINE, first.read(&mut nothing)).await;
    assert!(matches!(evicted, Ok(Ok(0) | Err(_))), "{evicted:?}");
    let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
    let response = ours.greet(&connect).await;
    assert_eq!(
        response["ok"], true,
        "it was there before the crowd: {response}"
    );
}

#[tokio::test]
async fn a_custom_address_is_listened_on_beside_loopback_and_nothing_else_is() {
    if !is_inside("bind::a_custom_address_is_listened_on_beside_loopback_and_nothing_else_is") {
        return;
    }
    let gateway =
        TestGateway::start_with(|settings| settings.bind = BindTo::Custom(ELSEWHERE)).await;
    let port = gateway.address.port();
    Client::open((ELSEWHERE, port).into()).await;
    Client::open(gateway.address).await;
    for closed in ["127.0.0.2", "::1"] {
        let address: SocketAddr = (closed.parse::<std::net::IpAddr>().unwrap(), port).into();
        TcpStream::connect(address).await.unwrap_err();
    }
    let loopback = TestGateway::start().await;
    let far: SocketAddr = (ELSEWHERE, loopback.address.port()).into();
    TcpStream::connect(far).await.unwrap_err();
}

/// B6, at the last door: whoever fills the settings.
#[tokio::test]
async fn without_a_secret_nothing_but_loopback_is_opened() {
    let home = tempfile::tempdir().unwrap();
    let mut settings = GatewaySettings::new(home.path());
    settings.auth.mode = AuthMode::None;
    for bind in [
        BindTo::Lan,
        BindTo::Tailnet,
        BindTo::Custom([192, 0, 2, 1].into()),
    ] {
        settings.bind = bind;
        let Err(error) = Gateway::bind(settings.clone()).await else {
            panic!("{bind:?} was opened to all");
        };
        let words = error.to_string();
        assert!(
            words.contains("gateway.auth.mode") && words.contains("gateway.bind"),
            "{words}"
        );
    }
    settings.bind = BindTo::Loopback;
    Gateway::bind(settings).await.unwrap();
}

#[tokio::test]
async fn it_is_the_check_that_keeps_the_network_out_where_nothing_is_asked_for() {
    if !is_inside("bind::it_is_the_check_that_keeps_the_network_out_where_nothing_is_asked_for") {
        return;
    }
    let change = |settings: &mut GatewaySettings| {
        settings.auth.mode = AuthMode::None;
        settings.bind = BindTo::Lan;
    };
    let words = TestGateway::refused_to_start(Policy::default(), change).await;
    assert!(words.contains("anybody could come in"), "{words}");
    let open = Policy::leaving_out(|policy| policy.secret_beyond_loopback = false);
    let open = TestGateway::start_under(open, change).await;
    Client::open((ELSEWHERE, open.address.port()).into()).await;
}

pub fn program(home: &Path, config: Option<&Value>, args: &[&str]) -> Command {
    let mut command = support::program::program(home, args);
    if let Some(config) = config {
        let file = home.join("config.json5");
        std::fs::write(&file, config.to_string()).unwrap();
        command.arg("--config").arg(file);
    }
    command.env("PATH", "/usr/bin:/bin");
    command
}

/// What a daemon says it listens on, and the daemon.
pub async fn listening(mut command: Command) -> (Vec<String>, Child) {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut addresses = Vec::new();
    let read = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            match line.strip_prefix("listening on ") {
                Some(address) => addresses.push(address.to_owned()),
                None if addresses.is_empty() => {}
                None => return,
            }
        }
    };
    timeout(DEADLINE, read).await.unwrap();
    // It must be able to say more.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (addresses, child)
}

#[tokio::test]
async fn what_would_be_open_to_all_does_not_start_and_the_key_and_the_next_step_are_named() {
    let home = tempfile::tempdir().unwrap();
    let lan = json!({"gateway": {"bind": "lan"}});
    let open = json!({"gateway": {"bind": "lan", "auth": {"mode": "none"}}});
    let address = json!({"gateway": {"bind": "0.0.0.0"}});
    let nowhere =
        json!({"gateway": {"bind": "custom", "auth": {"token": "a-token-of-this-test-alone"}}});
    let none: Option<&Value> = None;
    for (config, args, key, next) in [
        (
            none,
            &["--bind", "lan"][..],
            "gateway.bind",
            "clawline-gateway token",
        ),
        (
            none,
            &["--bind", "tailnet"],
            "gateway.bind",
            "gateway.auth.token",
        ),
        (Some(&lan), &[], "gateway.bind", "CLAWLINE_GATEWAY_TOKEN"),
        (Some(&open), &[], "gateway.auth.mode", "loopback"),
        (
            Some(&address),
            &[],
            "gateway.bind",
            "loopback, lan, tailnet, custom, auto",
        ),
        (
            Some(&nowhere),
            &[],
            "gateway.customBindHost",
            "address of this machine",
        ),
        (
            none,
            &["--bind", "everywhere"],
            "gateway.bind",
            "loopback, lan",
        ),
    ] {
        let args = [&["run", "--port", "0"], args].concat();
        let (code, text) = said(program(home.path(), config, &args)).await;
        assert_eq!(code, 2, "{args:?}: {text}");
        assert!(
            text.contains(key) && text.contains(next),
            "{args:?}: {text}"
        );
    }
}

#[tokio::test]
async fn the_option_wins_over_the_environment_and_that_over_the_file() {
    if !is_inside("bind::the_option_wins_over_the_environment_and_that_over_the_file") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let lan = json!({"gateway": {"bind": "lan", "auth": {"token": "a-token-of-this-test-alone"}}});
    let run = |args: &[&str], env: Option<&str>| {
        let args = [&["run", "--port", "0"], args].concat();
        let mut command = program(home.path(), Some(&lan), &args);
        if let Some(bind) = env {
            command.env("CLAWLINE_GATEWAY_BIND", bind);
        }
        command
    };
    for (args, env, host) in [
        (&[][..], None, "ws://0.0.0.0:"),
        (&[], Some("loopback"), "ws://127.0.0.1:"),
        (&["--bind", "lan"], Some("loopback"), "ws://0.0.0.0:"),
        (&["--bind", "auto"], None, "ws://127.0.0.1:"),
    ] {
        let (addresses, mut child) = listening(run(args, env)).await;
        assert!(
            addresses[0].starts_with(host),
            "{args:?} {env:?}: {addresses:?}"
        );
        child.kill().await.unwrap();
    }
    // A token that was made once will do.
    let (code, _) = said(program(home.path(), None, &["token"])).await;
    assert_eq!(code, 0);
    let made = program(home.path(), None, &["run", "--port", "0", "--bind", "lan"]);
    let (addresses, _child) = listening(made).await;
    assert!(addresses[0].starts_with("ws://0.0.0.0:"), "{addresses:?}");
}

/// F45.
#[tokio::test]
async fn who_holds_the_port_is_named() {
    let home = tempfile::tempdir().unwrap();
    let holder = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let (code, text) = said(program(home.path(), None, &["run", "--port", &port])).await;
    assert_eq!(code, 8, "{text}");
    if cfg!(target_os = "linux") {
        let pid = format!("(pid {})", std::process::id());
        assert!(text.contains(&port) && text.contains(&pid), "{text}");
    }
}

/// F59: with no descriptor left it neither spins nor dies, and comes back by itself.
#[tokio::test]
async fn without_descriptors_it_rests_and_recovers() {
    const FEW: usize = 64;
    let home = tempfile::tempdir().unwrap();
    let token = "a-token-of-this-test-alone";
    let binary = env!("CARGO_BIN_EXE_clawline-gateway");
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -n {FEW}; exec \"$@\""), "sh", binary])
        .args(["run", "--port", "0", "--token", token])
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let (addresses, child) = listening(command).await;
    let address: SocketAddr = addresses[0].strip_prefix("ws://").unwrap().parse().unwrap();
    let pid = child.id().unwrap();
    let mut crowd = JoinSet::new();
    for _ in 0..FEW {
        let mut stream = TcpStream::connect(address).await.unwrap();
        crowd.spawn(async move {
            let mut nothing = [0; 1];
            let ended = stream.read(&mut nothing).await;
            assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        });
    }
    // Those for whom there is no descriptor are told so, and silent ones make room.
    let mut some_end = async || {
        for _ in 0..FEW / 8 {
            let ended = timeout(DEADLINE, crowd.join_next()).await.unwrap();
            ended.unwrap().unwrap();
        }
    };
    some_end().await;
    // All that could be taken are taken, which is work; from here on it rests between two of them.
    let (before, began) = (cpu_ticks(pid), Instant::now());
    some_end().await;
    let (spent, took) = (cpu_ticks(pid) - before, began.elapsed());
    // A loop that does not wait takes all of one processor: 100 ticks a second.
    assert!(
        spent * 20 < 100 + u64::try_from(took.as_millis()).unwrap(),
        "{spent} ticks in {took:?}"
    );
    drop(crowd);
    let back = async { while !is_live(address).await {} };
    timeout(DEADLINE, back).await.unwrap();
    let connect = Connect::cli(4, token, &["operator.read"]);
    Client::connect(address, &connect).await;
}

/// Whether the probe is answered.
async fn is_live(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.1 200"))
    };
    matches!(ask.await, Ok(true))
}

/// Processor time of a process, in hundredths of a second.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
