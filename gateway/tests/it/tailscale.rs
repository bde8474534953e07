//! Published through Tailscale, with a program that stands in for `tailscale` (`support/tailscale.sh`): what
//! it is told, whose word counts, and that its route ends with us.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clawline_gateway::Gateway;
use clawline_gateway::policy::Policy;
use clawline_gateway::settings::{
    AuthMode, BindTo, GatewaySettings, TailscaleMode, TailscaleSettings,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bind::program;
use crate::support::program::{put_program, said, wait_for};
use crate::support::{Client, Connect, Device, OWN_UID, TestGateway};

const DEADLINE: Duration = Duration::from_secs(60);
/// Somebody of the tailnet.
const PHONE: &str = "100.64.0.9";
const ORIGIN: &str = "https://box.tail.ts.net";

/// The program, in a directory of its own.
pub struct Tailscale {
    dir: tempfile::TempDir,
}

impl Tailscale {
    pub fn new() -> Self {
        let stand_in = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let file = stand_in.at("tailscale");
        put_program(&file, include_str!("support/tailscale.sh"));
        stand_in.say("state", "Running");
        stand_in.say("address", "127.0.0.9");
        stand_in.say("login", "Me@Example.com");
        stand_in
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn say(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.at("calls")).unwrap_or_default()
    }

    fn settings(&self, mode: TailscaleMode) -> TailscaleSettings {
        TailscaleSettings {
            mode,
            allow_identity: true,
            program: self.at("tailscale"),
        }
    }

    /// A gateway that is published, and where Tailscale sends requests.
    pub async fn published(
        &self,
        change: impl FnOnce(&mut GatewaySettings),
    ) -> (TestGateway, SocketAddr) {
        let gateway = TestGateway::start_with(|all| {
            all.tailscale = self.settings(TailscaleMode::Serve);
            change(all);
        });
        (gateway.await, self.door().await)
    }

    /// Where Tailscale was told to send requests, once it does.
    async fn door(&self) -> SocketAddr {
        there(&self.at("serving")).await;
        let calls = self.calls();
        let call = calls
            .lines()
            .rfind(|call| call.contains("--bg=false"))
            .unwrap();
        let port = call.rsplit(' ').next().unwrap().parse().unwrap();
        SocketAddr::from(([127, 0, 0, 1], port))
    }
}

async fn until(claim: impl Fn() -> bool) {
    wait_for("what the stand-in does", async || claim().then_some(())).await;
}

async fn there(path: &Path) {
    until(|| path.exists()).await;
}

async fn published(tailscale: &Tailscale) -> (TestGateway, SocketAddr) {
    tailscale.published(|_| {}).await
}

/// As Tailscale forwards a request of its user.
fn headers(login: Option<&str>) -> Vec<(&str, &str)> {
    let mut headers = vec![
        ("x-forwarded-for", PHONE),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "box.tail.ts.net"),
    ];
    headers.extend(login.map(|login| ("tailscale-user-login", login)));
    headers
}

const ME: Option<&str> = Some("me@example.com");

async fn answer(door: SocketAddr, headers: &[(&str, &str)], connect: &Connect) -> Value {
    let opened = Client::try_open(door, headers).await;
    let mut client = opened.unwrap_or_else(|refused| panic!("{refused:?}"));
    client.greet(connect).await
}

fn ui(connect: Connect) -> Connect {
    connect
        .set("/client/id", json!("openclaw-control-ui"))
        .set("/client/mode", json!("webchat"))
        .set("/client/buildId", json!("dev"))
}

fn without_secret() -> Connect {
    Connect::cli(4, "", &["operator.read"]).without("/auth")
}

/// As recorded in `wire-auth-tailscale.jsonl`.
#[tokio::test]
async fn users_of_the_tailnet_get_what_official_gateways_give_them() {
    let tailscale = Tailscale::new();
    let (gateway, door) = published(&tailscale).await;
    let code = |response: &Value| response["error"]["details"]["code"].clone();
    let device = |seed| without_secret().with_device(Device::new(seed));

    let response = answer(door, &headers(ME), &device(1)).await;
    assert_eq!(code(&response), "PAIRING_REQUIRED", "{response}");
    let response = answer(door, &headers(ME), &without_secret()).await;
    assert_eq!(code(&response), "DEVICE_IDENTITY_REQUIRED", "{response}");
    assert_eq!(response["error"]["code"], "NOT_PAIRED");
    let mut page = headers(ME);
    let own = format!("http://127.0.0.1:{}", door.port());
    page.push(("origin", &own));
    let response = Client::try_open(door, &page).await.err();
    assert_eq!(
        response.map(|(status, _)| status),
        Some(403),
        "a page of this machine, shown elsewhere"
    );
    let node = device(2)
        .set("/role", json!("node"))
        .set("/client/id", json!("node-host"))
        .set("/client/mode", json!("node"));
    let response = answer(door, &headers(ME), &node).await;
    assert_eq!(code(&response), "PAIRING_REQUIRED", "{response}");
    let token = Connect::cli(4, &gateway.secret, &["operator.read"]).with_device(Device::new(3));
    let response = answer(door, &headers(ME), &token).await;
    assert_eq!(code(&response), "PAIRING_REQUIRED", "{response}");
    let guess = Connect::cli(4, "bad", &["operator.read"]).with_device(Device::new(4));
    let response = answer(door, &headers(ME), &guess).await;
    assert_eq!(code(&response), "AUTH_TOKEN_MISMATCH", "{response}");
    let words = response["error"]["message"].as_str().unwrap();
    assert!(words.contains("set gateway.remote.token"), "{words}");
    for login in [Some("other@example.com"), None] {
        let response = answer(door, &headers(login), &device(5)).await;
        assert_eq!(
            code(&response),
            "AUTH_TOKEN_MISSING",
            "{login:?}: {response}"
        );
    }
    let whois = tailscale.calls().matches("whois").count();
    assert_eq!(whois, 1, "who it is was asked once");
    gateway.stop().await;
}

/// S35: on the listener that everybody knows, and from whoever is not Tailscale, its headers are a refusal.
#[tokio::test]
async fn identity_headers_count_on_the_private_listener_and_from_tailscale_alone() {
    let tailscale = Tailscale::new();
    let (gateway, door) = published(&tailscale).await;
    let refused = async |address, headers: Vec<(&str, &str)>| {
        let Err((status, body)) = Client::try_open(address, &headers).await else {
            panic!("{headers:?} were let in");
        };
        assert!(
            status == 403 && body.contains("proxy_attribution_required"),
            "{status} {body}"
        );
    };
    refused(gateway.address, headers(ME)).await;
    refused(door, Vec::new()).await;
    for missing in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"] {
        let mut some = headers(ME);
        some.retain(|(name, _)| *name != missing);
        refused(door, some).await;
    }
    let mut twice = headers(ME);
    twice.push(("x-forwarded-for", "100.64.0.10"));
    refused(door, twice).await;
    gateway.peers.become_user(OWN_UID + 1);
    refused(door, headers(ME)).await;
    gateway.peers.become_user(0);
    let connect = without_secret().with_device(Device::new(1));
    let response = answer(door, &headers(ME), &connect).await;
    assert_eq!(
        response["error"]["details"]["code"], "PAIRING_REQUIRED",
        "tailscaled is root"
    );
}

/// The check can fail: a gateway that leaves it out believes the header.
#[tokio::test]
async fn it_is_whois_that_refuses_a_wrong_name() {
    let tailscale = Tailscale::new();
    let settings = tailscale.settings(TailscaleMode::Serve);
    let policy = Policy::leaving_out(|policy| policy.tailscale_whois = false);
    let _gateway = TestGateway::start_under(policy, |all| all.tailscale = settings).await;
    let door = tailscale.door().await;
    let connect = without_secret().with_device(Device::new(1));
    let response = answer(door, &headers(Some("other@example.com")), &connect).await;
    assert_eq!(
        response["error"]["details"]["code"], "PAIRING_REQUIRED",
        "{response}"
    );
}

#[tokio::test]
async fn a_page_of_our_name_is_ours_and_another_is_not() {
    let tailscale = Tailscale::new();
    let (gateway, door) = published(&tailscale).await;
    let mut page = headers(ME);
    page.extend([("origin", ORIGIN), ("host", "box.tail.ts.net")]);
    let is_up = async {
        // The name counts once the route stands.
        while Client::try_open(door, &page).await.is_err() {}
    };
    timeout(DEADLINE, is_up).await.unwrap();
    let connect = ui(without_secret()).with_device(Device::new(1));
    // Official gateways let the page in at once; here every new device waits for an approval.
    let response = answer(door, &page, &connect).await;
    let code = &response["error"]["details"]["code"];
    assert_eq!(code, "PAIRING_REQUIRED", "{response}");
    let response = answer(door, &page, &ui(without_secret())).await;
    let code = &response["error"]["details"]["code"];
    assert_eq!(code, "CONTROL_UI_DEVICE_IDENTITY_REQUIRED", "{response}");
    let mut other = headers(ME);
    other.push(("origin", "https://evil.example"));
    let Err((status, _)) = Client::try_open(door, &other).await else {
        panic!("another page was let in");
    };
    assert_eq!(status, 403);
    drop(gateway);
}

#[tokio::test]
async fn the_route_is_taken_back_in_order_and_after_a_kill() {
    let tailscale = Tailscale::new();
    let (gateway, door) = published(&tailscale).await;
    assert_ne!(door, gateway.address);
    let note = gateway.settings.state_dir.join("tailscale-port");
    assert_eq!(fs::read_to_string(&note).unwrap(), door.port().to_string());
    gateway.stop().await;
    assert!(!tailscale.at("route").exists() && !note.exists());
    // Somebody else may have been given the port for a moment.
    wait_for("the door to be closed", async || {
        TcpStream::connect(door).await.err()
    })
    .await;

    let home = tempfile::tempdir().unwrap();
    let config = json!({"gateway": {"tailscale": {"mode": "serve"}}});
    let mut command = program(home.path(), Some(&config), &["run", "--port", "0"]);
    let path = format!("{}:/usr/bin:/bin", tailscale.dir.path().display());
    let mut child = command.env("PATH", path).spawn().unwrap();
    there(&tailscale.at("serving")).await;
    let serving = fs::read_to_string(tailscale.at("serving")).unwrap();
    child.kill().await.unwrap();
    until(|| !tailscale.at("route").exists()).await;
    let proc = format!("/proc/{}", serving.trim());
    until(|| !Path::new(&proc).exists()).await;
}

#[tokio::test]
async fn our_own_left_over_route_is_taken_back_and_somebody_elses_never() {
    let route = |port: u16| {
        json!({"Web": {"box.tail.ts.net:443": {"Handlers": {"/": {
            "Proxy": format!("http://127.0.0.1:{port}")}}}}})
        .to_string()
    };
    let tailscale = Tailscale::new();
    tailscale.say("route", &route(4321));
    let home = tempfile::tempdir().unwrap();
    let mut settings = GatewaySettings::new(home.path());
    settings.tailscale = tailscale.settings(TailscaleMode::Serve);
    let gateway = Gateway::bind(settings.clone()).await.unwrap();
    let mut exposure = gateway.exposure();
    let stop = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(gateway.run(stop.clone()));
    let down = exposure.wait_for(|now| format!("{now:?}").contains("RouteTaken"));
    timeout(DEADLINE, down).await.unwrap().unwrap();
    assert_eq!(
        fs::read_to_string(tailscale.at("route")).unwrap(),
        route(4321)
    );
    assert!(!tailscale.calls().contains("off"));
    stop.cancel();
    task.await.unwrap().unwrap();

    fs::write(home.path().join("tailscale-port"), "4321").unwrap();
    let gateway = Gateway::bind(settings).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(gateway.run(stop.clone()));
    there(&tailscale.at("serving")).await;
    assert!(
        tailscale
            .calls()
            .contains("serve --yes --https=443 --set-path=/ off")
    );
    stop.cancel();
    task.await.unwrap().unwrap();
}

/// S37, and what else would be published without protection.
#[tokio::test]
async fn what_would_be_published_without_protection_does_not_start() {
    let tailscale = Tailscale::new();
    let home = tempfile::tempdir().unwrap();
    let mut settings = GatewaySettings::new(home.path());
    for (mode, auth, bind, words) in [
        (
            TailscaleMode::Funnel,
            AuthMode::Token,
            BindTo::Loopback,
            "gateway.auth.mode \"password\"",
        ),
        (
            TailscaleMode::Serve,
            AuthMode::None,
            BindTo::Loopback,
            "gateway.auth.mode is none",
        ),
        (
            TailscaleMode::Serve,
            AuthMode::Token,
            BindTo::Lan,
            "gateway.bind \"loopback\"",
        ),
    ] {
        settings.tailscale = tailscale.settings(mode);
        settings.auth.mode = auth;
        settings.bind = bind;
        let Err(error) = Gateway::bind(settings.clone()).await else {
            panic!("{mode:?} with {auth:?} on {bind:?} starts");
        };
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(tailscale.calls(), "");
    let config = json!({"gateway": {"tailscale": {"mode": "funnel"}}});
    let command = program(home.path(), Some(&config), &["run", "--port", "0"]);
    let (code, text) = said(command).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("CLAWLINE_GATEWAY_PASSWORD"), "{text}");
}

/// The daemon serves on, and says in one sentence what to do.
#[tokio::test]
async fn why_it_is_not_published_is_said_with_the_next_step() {
    let missing = tempfile::tempdir().unwrap();
    let tailscale = Tailscale::new();
    let config = json!({"gateway": {"tailscale": {"mode": "serve"}}});
    for (file, text, next) in [
        ("nothing", "", "install Tailscale"),
        ("state", "NeedsLogin", "sudo tailscale up"),
        ("down", "", "sudo systemctl start tailscaled"),
        ("denied", "", "sudo tailscale set --operator"),
    ] {
        let home = tempfile::tempdir().unwrap();
        tailscale.say("state", "Running");
        tailscale.say(file, text);
        let dir = if file == "nothing" {
            missing.path()
        } else {
            tailscale.dir.path()
        };
        let mut command = program(home.path(), Some(&config), &["run", "--port", "0"]);
        command.env("PATH", format!("{}:/usr/bin:/bin", dir.display()));
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let told = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("it ended");
                if line.contains("not published") {
                    return line;
                }
            }
        };
        let line = timeout(DEADLINE, told).await.unwrap();
        assert!(line.contains(next), "{file}: {line}");
        let _ = fs::remove_file(tailscale.at(file));
        child.kill().await.unwrap();
    }
}

#[tokio::test]
async fn bind_tailnet_listens_on_the_machines_address_there() {
    let tailscale = Tailscale::new();
    let settings = tailscale.settings(TailscaleMode::Off);
    let gateway = TestGateway::start_with(|all| {
        all.bind = BindTo::Tailnet;
        all.tailscale = settings;
    })
    .await;
    Client::open(([127, 0, 0, 9], gateway.address.port()).into()).await;
    Client::open(gateway.address).await;
    let home = tempfile::tempdir().unwrap();
    tailscale.say("state", "Stopped");
    let args = [
        "run",
        "--port",
        "0",
        "--bind",
        "tailnet",
        "--token",
        "a-token-of-this-test-alone",
    ];
    let mut command = program(home.path(), None, &args);
    command.env(
        "PATH",
        format!("{}:/usr/bin:/bin", tailscale.dir.path().display()),
    );
    let (code, text) = said(command).await;
    assert_eq!(code, 8, "{text}");
    assert!(text.contains("sudo tailscale up"), "{text}");
}

/// The check can fail, too: a gateway that leaves it out takes another user of this machine for Tailscale.
#[tokio::test]
async fn it_is_the_kernel_that_says_whether_tailscale_connects() {
    let checked = (Policy::default(), false);
    let open = Policy::leaving_out(|policy| policy.tailscale_peer = false);
    for (policy, is_let_in) in [checked, (open, true)] {
        let tailscale = Tailscale::new();
        let settings = tailscale.settings(TailscaleMode::Serve);
        let gateway = TestGateway::start_under(policy, |all| all.tailscale = settings).await;
        let door = tailscale.door().await;
        gateway.peers.become_user(OWN_UID + 1);
        let opened = Client::try_open(door, &headers(ME)).await;
        assert_eq!(opened.is_ok(), is_let_in);
    }
}

/// And one that leaves this out publishes what asks for nothing but a token.
#[tokio::test]
async fn it_is_the_check_at_the_start_that_keeps_funnel_without_a_password_away() {
    let tailscale = Tailscale::new();
    let settings = || tailscale.settings(TailscaleMode::Funnel);
    let words = TestGateway::refused_to_start(Policy::default(), |all| {
        all.tailscale = settings();
    })
    .await;
    assert!(words.contains("gateway.auth.mode \"password\""), "{words}");
    let open = Policy::leaving_out(|policy| policy.safe_publishing = false);
    let _gateway = TestGateway::start_under(open, |all| all.tailscale = settings()).await;
    tailscale.door().await;
}

#[tokio::test]
async fn many_connections_of_one_address_ask_once_who_it_is() {
    let tailscale = Tailscale::new();
    let (_gateway, door) = published(&tailscale).await;
    let connects = (0..8).map(|seed| {
        let connect = without_secret().with_device(Device::new(seed + 1));
        async move { answer(door, &headers(ME), &connect).await }
    });
    let answers = futures_util::future::join_all(connects).await;
    assert_eq!(answers.len(), 8);
    assert_eq!(tailscale.calls().matches("whois").count(), 1);
}
