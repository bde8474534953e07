//! Starting, stopping, and what is left behind on disk.

use std::time::Duration;

use clawline::notice::GatewayNotice;
use clawline::secret::Secret;
use clawline_gateway::reload::Source;
use clawline_gateway::settings::GatewaySettings;
use clawline_gateway::{Gateway, StartError};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::support::program::DEADLINE;
use crate::support::{Client, Connect, Device, HeldModel, TestGateway};

#[tokio::test]
async fn a_stop_is_announced_and_closes_with_1012_without_a_wait() {
    let gateway = TestGateway::start_with(|settings| {
        settings.grace = Duration::from_secs(3600);
    })
    .await;
    let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    let mut pending = Client::open(gateway.address).await;
    let stopping = tokio::spawn(gateway.stop());
    let event = client.event("shutdown").await;
    assert_eq!(event["payload"]["reason"], "gateway stopping");
    assert_eq!(client.closed().await, (1012, "service restart".to_owned()));
    assert_eq!(pending.closed().await.0, 1012);
    drop((client, pending));
    let stopped = tokio::time::timeout(DEADLINE, stopping).await;
    stopped
        .expect("nobody waits for clients that do nothing")
        .unwrap();
}

#[tokio::test]
async fn a_gateway_of_which_a_part_breaks_stops_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    let settings = GatewaySettings::new(home.path());
    let gateway = Gateway::bind(settings.clone()).await.unwrap();
    let mut changed = settings;
    changed.config.effective = json!({"logging": {"level": "debug"}});
    let source = Source::new(Vec::new(), move || Ok(changed.clone()))
        .on_change(|_| panic!("the watcher of the configuration breaks"));
    let stop = CancellationToken::new();
    let running = gateway.with_reload(source).run(stop);
    let ended = tokio::time::timeout(DEADLINE, running).await;
    let error = ended.expect("nobody had to stop it").unwrap_err();
    assert!(error.to_string().contains("start it again"), "{error}");
    let next = Gateway::bind(GatewaySettings::new(home.path())).await;
    assert!(next.is_ok(), "nothing of it is left that holds the profile");
}

#[tokio::test]
async fn every_agent_call_has_its_last_answer_before_the_stop() {
    let mut model = HeldModel::start().await;
    let gateway = TestGateway::start_with(|settings| {
        settings.grace = DEADLINE;
        settings.models = model.settings();
    })
    .await;
    let connect = Connect::cli(4, &gateway.secret, &["operator.read", "operator.write"]);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    let ask = |run: &str, text: &str| json!({"message": text, "idempotencyKey": run});
    let running = client.start("agent", ask("r-1", "one")).await;
    client.response(&running).await;
    let asked = model.asked().await;
    let waiting = client.start("agent", ask("r-2", "and then?")).await;
    client.response(&waiting).await;
    let stopping = tokio::spawn(gateway.stop());
    client.event("shutdown").await;
    asked.answer("1").await;
    let answer = client.response(&running).await;
    assert_eq!(answer["payload"]["status"], "ok", "{answer}");
    let later = client.response(&waiting).await;
    let why = later["error"]["message"].as_str().unwrap();
    assert!(why.contains("the message is kept"), "{why}");
    assert_eq!(client.closed().await.0, 1012);
    drop(client);
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_silent_socket_does_not_hold_the_stop() {
    let gateway = TestGateway::start_with(|settings| {
        settings.grace = Duration::from_secs(3600);
    })
    .await;
    let silent = TcpStream::connect(gateway.address).await.unwrap();
    // Accepted after the silent one, and so a proof that that one was.
    let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
    drop(Client::connect(gateway.address, &connect).await);
    let stopped = tokio::time::timeout(DEADLINE, gateway.stop()).await;
    stopped.expect("the stop waits for a socket that says nothing");
    drop(silent);
}

#[tokio::test]
async fn a_second_gateway_of_a_profile_says_who_runs() {
    let gateway = TestGateway::start().await;
    let second = Gateway::bind(GatewaySettings::new(&gateway.settings.state_dir)).await;
    let Err(error) = second else {
        panic!("two gateways share a state directory");
    };
    assert!(matches!(error, StartError::Lock(_)), "{error}");
    assert!(error.to_string().contains(&std::process::id().to_string()));
}

#[tokio::test]
async fn the_notice_is_there_while_it_runs_and_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(".clawline/gateway.json");
    let advert = path.clone();
    let gateway = TestGateway::start_with(|settings| settings.advert = Some(advert)).await;
    let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
    Client::connect(gateway.address, &connect).await;
    let notice = GatewayNotice::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(notice.port, gateway.address.port());
    let token_file = notice.token_file.unwrap();
    assert_eq!(std::fs::read_to_string(token_file).unwrap(), gateway.secret);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    gateway.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn the_notice_is_there_once_the_port_is_bound_and_goes_with_a_gateway_that_never_served() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(".clawline/gateway.json");
    let mut settings = GatewaySettings::new(home.path().join("state"));
    settings.advert = Some(path.clone());
    let gateway = Gateway::bind(settings).await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let notice = GatewayNotice::parse(&text).unwrap();
    assert_eq!(notice.port, gateway.local_addr().port());
    drop(gateway);
    assert!(!path.exists(), "nobody answers at that port any more");
}

#[tokio::test]
async fn config_get_shows_no_secret() {
    let gateway = TestGateway::start_with(|settings| {
        settings.auth.token = Some(Secret::new("S3CRET-TOKEN"));
    })
    .await;
    let file = json!({
        "gateway": {"auth": {"token": "S3CRET-TOKEN"}},
        "models": {"providers": {"x": {"apiKey": "S3CRET-KEY"}}},
    });
    std::fs::write(&gateway.settings.config.path, file.to_string()).unwrap();
    let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    let config = client.ok("config.get", json!({})).await;
    assert!(!config.to_string().contains("S3CRET"), "{config}");
    assert_eq!(
        config["parsed"]["gateway"]["auth"]["token"],
        "__OPENCLAW_REDACTED__"
    );
}

#[tokio::test]
async fn hello_lists_the_methods_that_answer() {
    let gateway = TestGateway::start().await;
    let connect = Connect::cli(4, &gateway.secret, &["operator.admin"]).with_device(Device::new(1));
    let (mut client, hello) = Client::connect(gateway.address, &connect).await;
    assert_eq!(hello["server"]["version"], env!("CARGO_PKG_VERSION"));
    for capability in ["clawline-gateway", "clawline-durable-ack"] {
        let capabilities = hello["features"]["capabilities"].as_array().unwrap();
        assert!(capabilities.contains(&json!(capability)));
    }
    for method in hello["features"]["methods"].as_array().unwrap() {
        let method = method.as_str().unwrap();
        let answer = client.call(method, json!({})).await;
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(
            !message.starts_with("unknown method"),
            "{method}: {message}"
        );
    }
    for (method, empty) in [
        ("system-presence", None),
        ("last-heartbeat", Some(json!(null))),
        ("exec.approval.list", Some(json!([]))),
        ("plugin.approval.list", Some(json!([]))),
        ("question.list", Some(json!({"questions": []}))),
        ("taskSuggestions.list", Some(json!({"suggestions": []}))),
        ("node.pair.list", Some(json!({"pending": [], "paired": []}))),
    ] {
        let payload = client.ok(method, json!({})).await;
        match empty {
            Some(empty) => assert_eq!(payload, empty, "{method}"),
            None => assert!(payload.is_array(), "{method}"),
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_being_written_completes_before_the_stop() {
    let gateway = TestGateway::start_with(|settings| settings.grace = DEADLINE).await;
    let scopes = ["operator.read", "operator.write"];
    let connect = Connect::cli(4, &gateway.secret, &scopes);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    let text = "a few words that take a moment to say";
    let params = json!({"sessionKey": "main", "message": text, "idempotencyKey": "r"});
    client.ok("chat.send", params).await;
    client.until(|f| f["payload"]["state"] == "delta").await;
    let stopping = tokio::spawn(gateway.stop());
    client.event("shutdown").await;
    client.until(|f| f["payload"]["state"] == "final").await;
    assert_eq!(client.closed().await.0, 1012);
    drop(client);
    stopping.await.unwrap();
}

/// The members of a recorded hello that ours leaves out, with the reason.
const LEFT_OUT: [&str; 8] = [
    // Browser interface and plugins: there are none yet.
    "/pluginSurfaceUrls",
    "/canvasHostUrl",
    "/server/controlUiBuildSource",
    // Updates are the package manager's.
    "/snapshot/updateSchedule",
    "/snapshot/appliedConfigHash",
    // Accounts of a hosted service.
    "/auth/recoveryScope",
    "/auth/recoveryMigrationAllowed",
    "/snapshot/health/eventLoop",
];

fn recorded_hello(text: &str) -> serde_json::Value {
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .find(|line| line["frame"]["payload"]["type"] == "hello-ok")
        .unwrap()["frame"]["payload"]
        .clone()
}

/// Paths of all members, two levels down.
fn members(hello: &serde_json::Value) -> Vec<String> {
    let mut paths = Vec::new();
    for (name, value) in hello.as_object().unwrap() {
        paths.push(format!("/{name}"));
        for (inner, deeper) in value.as_object().into_iter().flatten() {
            paths.push(format!("/{name}/{inner}"));
            for last in deeper.as_object().into_iter().flatten() {
                paths.push(format!("/{name}/{inner}/{}", last.0));
            }
        }
    }
    paths
}

#[tokio::test]
async fn hello_has_every_member_of_the_recorded_ones() {
    let gateway = TestGateway::start().await;
    for (version, recorded) in [
        (
            3,
            include_str!("../../../tests/data/frames/v3/tui-hello.jsonl"),
        ),
        (
            4,
            include_str!("../../../tests/data/frames/v4/tui-hello.jsonl"),
        ),
    ] {
        let scopes = ["operator.admin", "operator.read"];
        let connect = Connect::cli(version, &gateway.secret, &scopes).with_device(Device::new(1));
        let (_, hello) = Client::connect(gateway.address, &connect).await;
        let ours = members(&hello);
        let missing: Vec<String> = members(&recorded_hello(recorded))
            .into_iter()
            .filter(|path| !ours.contains(path))
            .filter(|path| !LEFT_OUT.iter().any(|left| path.starts_with(left)))
            .collect();
        assert!(missing.is_empty(), "version {version}: {missing:?}");
    }
}
