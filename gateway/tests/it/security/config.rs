//! SECURITY S25, and the configuration over the wire: what is shown, what is written, how often.

use std::fs;

use clawline::secret::Secret;
use clawline_gateway::policy::Policy;
use clawline_gateway::settings::GatewaySettings;
use serde_json::{Value, json};

use super::{Outcome, refused_unless};
use crate::support::program::{Daemon, program, said};
use crate::support::{Client, Connect, Device, TestGateway};

const SECRET: &str = "T0P-secret-of-this-file";
const ADMIN: [&str; 2] = ["operator.admin", "operator.read"];

fn with_file(settings: &mut GatewaySettings) {
    settings.config.path = settings.state_dir.with_file_name("clawline.json5");
}

/// An admin of a gateway whose config file holds a secret.
async fn admin(gateway: &TestGateway) -> Client {
    let text = format!("{{gateway: {{auth: {{token: '{SECRET}'}}}}}}");
    fs::write(&gateway.settings.config.path, text).unwrap();
    client(gateway).await
}

async fn client(gateway: &TestGateway) -> Client {
    let connect = Connect::cli(4, &gateway.secret, &ADMIN);
    Client::connect(gateway.address, &connect).await.0
}

fn file(gateway: &TestGateway) -> String {
    fs::read_to_string(&gateway.settings.config.path).unwrap()
}

/// Success where the file is another one afterwards.
async fn sets(gateway: &TestGateway, client: &mut Client, params: Value) -> Outcome {
    let before = file(gateway);
    let answer = client.call("config.set", params).await;
    match (answer["ok"] == true, file(gateway) != before) {
        (true, true) => Ok(answer["payload"].clone()),
        (false, false) => Err(answer["error"].clone()),
        _ => panic!("what is said and what is done differ: {answer}"),
    }
}

#[tokio::test]
async fn s25_a_configuration_is_shown_without_its_secrets() {
    let refusal = refused_unless(
        |policy| policy.redacted_config = false,
        with_file,
        async |gateway| {
            let shown = admin(gateway).await.ok("config.get", json!({})).await;
            match shown.to_string().contains(SECRET) {
                true => Ok(shown),
                false => Err(shown["parsed"].clone()),
            }
        },
    )
    .await;
    let token = &refusal["gateway"]["auth"]["token"];
    assert_eq!(token, "__OPENCLAW_REDACTED__");
}

#[tokio::test]
async fn s25_what_was_shown_can_be_sent_back_and_the_secret_stays() {
    let refusal = refused_unless(
        |policy| policy.kept_secrets = false,
        with_file,
        async |gateway| {
            let mut admin = admin(gateway).await;
            let shown = admin.ok("config.get", json!({})).await;
            let back = json!({"raw": shown["raw"], "baseHash": shown["hash"]});
            admin.ok("config.set", back).await;
            match file(gateway).contains(SECRET) {
                true => Err(json!("kept")),
                false => Ok(json!("lost")),
            }
        },
    )
    .await;
    assert_eq!(refusal, "kept");
}

#[tokio::test]
async fn nobody_overwrites_what_it_has_not_seen() {
    for base in [json!(null), json!("hmac-sha256:v1:00")] {
        let refusal = refused_unless(
            |policy| policy.seen_config = false,
            with_file,
            async |gateway| {
                let mut admin = admin(gateway).await;
                let params = json!({"raw": "{gateway: {port: 19001}}", "baseHash": base});
                sets(gateway, &mut admin, params).await
            },
        )
        .await;
        let words = refusal["message"].as_str().unwrap();
        assert!(words.contains("re-run config.get"), "{words}");
    }
}

#[tokio::test]
async fn openclaw_s_own_file_is_left_alone_by_the_check_that_is_for_it() {
    let refusal = refused_unless(
        |policy| policy.foreign_config = false,
        |settings| settings.config.path = settings.state_dir.with_file_name("openclaw.json"),
        async |gateway| {
            let mut admin = admin(gateway).await;
            let hash = admin.ok("config.get", json!({})).await["hash"].clone();
            let params = json!({"raw": "{gateway: {port: 19001}}", "baseHash": hash});
            sets(gateway, &mut admin, params).await
        },
    )
    .await;
    assert!(
        refusal["message"]
            .as_str()
            .unwrap()
            .contains("never writes")
    );
}

/// As the program reads a file, as far as this test needs it.
fn draft(text: &str, mut settings: GatewaySettings) -> GatewaySettings {
    let tree: Value = json5::from_str(text).unwrap();
    let token = tree["gateway"]["auth"]["token"].as_str();
    settings.auth.token = token.map(Secret::new);
    settings
}

async fn written_weak(policy: Policy) -> Outcome {
    let gateway = TestGateway::start_drafting(policy, draft).await;
    let mut admin = admin(&gateway).await;
    let hash = admin.ok("config.get", json!({})).await["hash"].clone();
    let params = json!({"raw": "{gateway: {auth: {token: 'hunt2'}}}", "baseHash": hash});
    sets(&gateway, &mut admin, params).await
}

#[tokio::test]
async fn what_a_start_would_refuse_is_not_written_by_the_check_that_is_for_it() {
    let refusal = written_weak(Policy::default()).await.unwrap_err();
    let words = refusal["message"].as_str().unwrap();
    assert!(words.contains("is shorter than"), "{words}");
    let open = Policy::leaving_out(|policy| policy.startable_config = false);
    written_weak(open).await.unwrap();
}

#[tokio::test]
async fn what_the_program_would_not_start_with_is_refused_in_the_words_of_its_start() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(".config/clawline/clawline.json5");
    const GOOD: &str = "{gateway: {allowedHosts: ['a.example']}}";
    Daemon::configure(home.path(), GOOD);
    let daemon = Daemon::start(home.path()).await;
    let connect = Connect::cli(4, &daemon.token(), &ADMIN);
    let (mut client, _) = Client::connect(daemon.address(), &connect).await;
    let hash = client.ok("config.get", json!({})).await["hash"].clone();
    let other = tempfile::tempdir().unwrap();
    for (text, word) in [
        ("{gateway: {auth: {token: 'hunt2'}}}", "is shorter than"),
        (
            "{gateway: {auth: {token: 'one-and-the-same', password: 'one-and-the-same'}}}",
            "the same",
        ),
        (
            "{gateway: {tailscale: {mode: 'funnel'}}}",
            "CLAWLINE_GATEWAY_PASSWORD",
        ),
        (
            "{gateway: {tailscale: {mode: 'serve'}, auth: {mode: 'none'}}}",
            "anybody there could come in",
        ),
        (
            "{gateway: {bind: 'lan', auth: {mode: 'none'}}}",
            "possible on loopback alone",
        ),
        (
            "{gateway: {tls: {enabled: true, certPath: '/nowhere/c.pem', keyPath: '/nowhere/k.pem'}}}",
            "/nowhere/",
        ),
        (
            "{gateway: {trustedProxies: ['10.0.0.1'], auth: {mode: 'trusted-proxy', token: 'a-token-beside-it', trustedProxy: {userHeader: 'x-user'}}}}",
            "token or a password",
        ),
        (
            "{gateway: {auth: {token: 'a-token-of-this-test'}, bind: 'custom', customBindHost: '192.0.2.77'}}",
            "not an address of this machine",
        ),
        (
            "{gateway: {trustedProxies: ['nobody']}}",
            "gateway.trustedProxies",
        ),
    ] {
        let params = json!({"raw": text, "baseHash": hash});
        let error = client.error("config.set", params).await;
        let told = error["message"].as_str().unwrap().to_owned();
        assert!(told.contains(word), "{text}: {told}");
        assert_eq!(fs::read_to_string(&path).unwrap(), GOOD, "{text}");
        // A start says the same of it.
        let file = other.path().join("clawline.json5");
        fs::write(&file, text).unwrap();
        let args = ["run", "--port", "0", "--config", file.to_str().unwrap()];
        let (code, start) = said(program(other.path(), &args)).await;
        // An address that is not ours is only seen when it is to be listened on.
        assert!(code == 2 || code == 8, "{text}: {start}");
        assert!(start.contains(word), "{text}: {start}");
    }
    let params = json!({"raw": "{gateway: {allowedHosts: ['b.example']}}", "baseHash": hash});
    client.ok("config.set", params).await;
}

#[tokio::test]
async fn the_flags_of_the_start_count_for_what_may_be_written() {
    let home = tempfile::tempdir().unwrap();
    Daemon::configure(home.path(), "{}");
    let flags = [
        "--auth",
        "password",
        "--password",
        "a password of this test",
    ];
    let daemon = Daemon::start_with(home.path(), &flags).await;
    let connect = Connect::cli(4, flags[3], &ADMIN);
    let (mut client, _) = Client::connect(daemon.address(), &connect).await;
    let hash = client.ok("config.get", json!({})).await["hash"].clone();
    let params = json!({"raw": "{gateway: {tailscale: {mode: 'funnel'}}}", "baseHash": hash});
    client.ok("config.set", params).await;
}

#[tokio::test]
async fn a_client_in_a_circle_writes_thirty_times_a_minute() {
    let refusal = refused_unless(
        |policy| policy.write_budget = false,
        with_file,
        async |gateway| {
            let mut admin = admin(gateway).await;
            let bad = json!({"raw": "{", "baseHash": null});
            for _ in 0..30 {
                let error = admin.error("config.patch", bad.clone()).await;
                assert_eq!(error["code"], "INVALID_REQUEST");
            }
            let error = admin.error("config.patch", bad.clone()).await;
            if error["code"] == "INVALID_REQUEST" {
                return Ok(error);
            }
            // Another method has its own, and so has another device.
            let other = admin.error("config.apply", bad.clone()).await;
            assert_eq!(other["code"], "INVALID_REQUEST");
            let connect = Connect::cli(3, &gateway.secret, &ADMIN).with_device(Device::new(25));
            let (mut device, _) = Client::connect(gateway.address, &connect).await;
            let other = device.error("config.patch", bad).await;
            assert_eq!(other["code"], "INVALID_REQUEST");
            Err(error)
        },
    )
    .await;
    assert_eq!(refusal["code"], "UNAVAILABLE");
    assert_eq!(refusal["retryable"], true);
    let left = refusal["retryAfterMs"].as_u64().unwrap();
    assert!((1..=60_000).contains(&left), "{left}");
    let words = refusal["message"].as_str().unwrap();
    let start = "rate limit exceeded for config.patch; retry after ";
    assert!(words.starts_with(start) && words.ends_with('s'), "{words}");
    let details = json!({"method": "config.patch", "limit": "30 per 60s"});
    assert_eq!(refusal["details"], details);
}
