//! Coming in: good connects of both versions, and every refusal in its exact words.

use clawline::protocol::device_auth::PayloadVersion;
use clawline::secret::Secret;
use clawline_gateway::settings::AuthMode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, Connect, Device, TestGateway};

#[tokio::test]
async fn the_v4_command_line_comes_in_without_a_device_and_keeps_its_scopes() {
    let gateway = TestGateway::start().await;
    let connect = Connect::cli(4, &gateway.secret, &["operator.read", "operator.admin"]);
    let (mut client, hello) = Client::connect(gateway.address, &connect).await;
    assert_eq!(hello["type"], "hello-ok");
    assert_eq!(hello["protocol"], 4);
    assert_eq!(hello["auth"]["method"], "token");
    assert_eq!(
        hello["auth"]["scopes"],
        json!(["operator.read", "operator.admin"])
    );
    assert_eq!(hello["snapshot"]["health"]["ok"], true);
    assert_eq!(hello["policy"]["tickIntervalMs"], 30_000);
    let health = client.ok("health", json!(null)).await;
    assert_eq!(health["ok"], true);
    assert_eq!(health["channels"], json!({}));
}

#[tokio::test]
async fn the_v3_app_comes_in_with_its_device_and_gets_a_token() {
    let gateway = TestGateway::start().await;
    let connect = Connect::cli(3, &gateway.secret, &["operator.admin"]).with_device(Device::new(1));
    let (mut client, hello) = Client::connect(gateway.address, &connect).await;
    assert_eq!(hello["protocol"], 3);
    assert_eq!(hello["auth"]["scopes"], json!(["operator.admin"]));
    assert_eq!(hello["auth"]["deviceToken"].as_str().unwrap().len(), 43);
    assert_eq!(client.ok("health", json!({})).await["ok"], true);
    let health = client.event("health").await;
    let members: Vec<&String> = health.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        ["type", "event", "payload", "seq", "stateVersion"],
        "a version 3 client drops frames with members it does not know"
    );
}

/// One refused connect: what is changed, and the error that both sides of the wire know.
struct Refused {
    what: &'static str,
    connect: Connect,
    error: Value,
    code: u16,
}

fn refused(what: &'static str, connect: Connect, error: Value) -> Refused {
    Refused {
        what,
        connect,
        error,
        code: 1008,
    }
}

fn auth(message: &str, code: &str, reason: &str, retry: bool, step: &str) -> Value {
    json!({"code": "INVALID_REQUEST", "message": message, "details": {
        "code": code, "authReason": reason, "canRetryWithDeviceToken": retry,
        "recommendedNextStep": step,
    }})
}

fn device_fault(message: &str, code: &str, reason: &str) -> Value {
    json!({"code": "INVALID_REQUEST", "message": message,
        "details": {"code": code, "reason": reason}})
}

const LOCAL_TOKEN_HINT: &str = "(use this gateway's gateway.auth.token or pair the device)";

#[tokio::test]
async fn version_4_refusals_have_the_official_words_and_codes() {
    let gateway = TestGateway::start().await;
    let base = |token: &str| Connect::cli(4, token, &["operator.read"]);
    let plain = || base(&gateway.secret);
    let with_device = || plain().with_device(Device::new(7));
    let device_required = json!({"code": "NOT_PAIRED", "message": "device identity required",
        "details": {"code": "DEVICE_IDENTITY_REQUIRED"}});
    let missing = format!("unauthorized: gateway token missing {LOCAL_TOKEN_HINT}");
    let mismatch = format!("unauthorized: gateway token mismatch {LOCAL_TOKEN_HINT}");
    let invalid = |why: &str| json!({"code": "INVALID_REQUEST", "message": format!("invalid connect params: {why}")});
    let one_of = "must be equal to one of the allowed values";
    let mut cases = vec![
        refused(
            "no credential",
            plain().without("/auth"),
            device_required.clone(),
        ),
        refused("an empty token", base(""), device_required.clone()),
        refused(
            "an empty token with a device",
            base("").with_device(Device::new(7)),
            auth(
                &missing,
                "AUTH_TOKEN_MISSING",
                "token_missing",
                false,
                "update_auth_configuration",
            ),
        ),
        refused(
            "a wrong token",
            base("nope"),
            auth(
                &mismatch,
                "AUTH_TOKEN_MISMATCH",
                "token_mismatch",
                false,
                "update_auth_credentials",
            ),
        ),
        refused(
            "a wrong token with a device",
            base("nope").with_device(Device::new(7)),
            auth(
                &mismatch,
                "AUTH_TOKEN_MISMATCH",
                "token_mismatch",
                true,
                "retry_with_device_token",
            ),
        ),
        refused(
            "a wrong password",
            plain()
                .set("/auth", json!({"password": "nope"}))
                .with_device(Device::new(7)),
            auth(
                &mismatch,
                "AUTH_TOKEN_MISMATCH",
                "token_mismatch",
                false,
                "update_auth_credentials",
            ),
        ),
        refused(
            "a wrong device token",
            plain()
                .set("/auth", json!({"deviceToken": "nope"}))
                .with_device(Device::new(7)),
            auth(
                "unauthorized: device token mismatch (rotate/reissue device token)",
                "AUTH_DEVICE_TOKEN_MISMATCH",
                "device_token_mismatch",
                false,
                "update_auth_credentials",
            ),
        ),
        refused(
            "a node without a device",
            plain()
                .set("/role", json!("node"))
                .set("/client/id", json!("node-host"))
                .set("/client/mode", json!("node")),
            device_required,
        ),
        refused(
            "an app without a device",
            plain()
                .set("/client/id", json!("openclaw-tui"))
                .set("/client/mode", json!("ui")),
            json!({"code": "INVALID_REQUEST",
                "message": "control ui requires device identity (use HTTPS or localhost secure context)",
                "details": {"code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"}}),
        ),
        refused(
            "a browser client without an origin",
            with_device()
                .set("/client/id", json!("openclaw-control-ui"))
                .set("/client/mode", json!("webchat")),
            json!({"code": "INVALID_REQUEST",
                "message": "origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)",
                "details": {"code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": "origin missing or invalid"}}),
        ),
        refused(
            "no client",
            plain().without("/client"),
            invalid("must have required property 'client'"),
        ),
        refused(
            "an unknown id",
            plain().set("/client/id", json!("x")),
            invalid(&format!("at /client/id: {one_of}")),
        ),
        refused(
            "an unknown mode",
            plain().set("/client/mode", json!("x")),
            invalid(&format!("at /client/mode: {one_of}")),
        ),
        refused(
            "an unknown role",
            plain().set("/role", json!("boss")),
            json!({"code": "INVALID_REQUEST", "message": "invalid role"}),
        ),
        refused(
            "an id of another key",
            with_device().set("/device", json!({"id": "0".repeat(64)})),
            device_fault(
                "device identity mismatch",
                "DEVICE_AUTH_DEVICE_ID_MISMATCH",
                "device-id-mismatch",
            ),
        ),
        refused(
            "an old signature",
            with_device().set("/device", json!({"signedAt": 1000})),
            device_fault(
                "device signature expired",
                "DEVICE_AUTH_SIGNATURE_EXPIRED",
                "device-signature-stale",
            ),
        ),
        refused(
            "a blank nonce",
            with_device().set("/device", json!({"nonce": " "})),
            device_fault(
                "device nonce required",
                "DEVICE_AUTH_NONCE_REQUIRED",
                "device-nonce-missing",
            ),
        ),
        refused(
            "another connection's nonce",
            with_device().set("/device", json!({"nonce": "deadbeef"})),
            device_fault(
                "device nonce mismatch",
                "DEVICE_AUTH_NONCE_MISMATCH",
                "device-nonce-mismatch",
            ),
        ),
        refused(
            "a forged signature",
            with_device().set("/device", json!({"signature": "A".repeat(86)})),
            device_fault(
                "device signature invalid",
                "DEVICE_AUTH_SIGNATURE_INVALID",
                "device-signature",
            ),
        ),
    ];
    cases.push(Refused {
        what: "an unknown version",
        connect: plain()
            .set("/minProtocol", json!(1))
            .set("/maxProtocol", json!(2)),
        error: json!({"code": "INVALID_REQUEST", "message": "protocol mismatch", "details": {
            "code": "PROTOCOL_MISMATCH", "clientMinProtocol": 1, "clientMaxProtocol": 2,
            "expectedProtocol": 4, "minimumProbeProtocol": 3,
        }}),
        code: 1002,
    });
    for case in cases {
        let (error, code, reason) = Client::refused(gateway.address, &case.connect).await;
        assert_eq!(error, case.error, "{}", case.what);
        assert_eq!(code, case.code, "{}", case.what);
        let message = case.error["message"].as_str().unwrap();
        assert_eq!(reason, message[..message.len().min(120)], "{}", case.what);
    }
}

#[tokio::test]
async fn version_3_refusals_are_words_alone() {
    let gateway = TestGateway::start().await;
    let base = |token: &str| Connect::cli(3, token, &["operator.read"]);
    let hint = "(set gateway.remote.token to match gateway.auth.token)";
    let cases = [
        (
            base("").without("/auth"),
            "NOT_PAIRED",
            "device identity required".to_owned(),
        ),
        (
            base("").with_device(Device::new(7)),
            "INVALID_REQUEST",
            format!("unauthorized: gateway token missing {hint}"),
        ),
        (
            base("nope"),
            "INVALID_REQUEST",
            format!("unauthorized: gateway token mismatch {hint}"),
        ),
        (
            base("nope").with_device(Device::new(7)),
            "INVALID_REQUEST",
            "unauthorized: device token mismatch (rotate/reissue device token)".to_owned(),
        ),
        (
            base("")
                .set("/auth", json!({"password": gateway.secret}))
                .with_device(Device::new(7)),
            "INVALID_REQUEST",
            format!("unauthorized: gateway token missing {hint}"),
        ),
    ];
    for (connect, code, message) in cases {
        let (error, close, _) = Client::refused(gateway.address, &connect).await;
        assert_eq!(error, json!({"code": code, "message": message}));
        assert_eq!(close, 1008);
    }
}

#[tokio::test]
async fn both_versions_take_every_accepted_signature_and_an_offer_of_both_gets_the_newer() {
    let gateway = TestGateway::start().await;
    for (min, max, spoken) in [(3, 3, 3), (4, 4, 4), (3, 4, 4), (1, 9, 4)] {
        for version in [PayloadVersion::V2, PayloadVersion::V3] {
            let device = Device {
                version,
                ..Device::new(9)
            };
            let connect = Connect::cli(4, &gateway.secret, &["operator.read"])
                .set("/minProtocol", json!(min))
                .set("/maxProtocol", json!(max))
                .with_device(device);
            let (_, hello) = Client::connect(gateway.address, &connect).await;
            assert_eq!(hello["protocol"], spoken, "{min}..{max} {version:?}");
        }
    }
}

#[tokio::test]
async fn without_a_device_only_the_owner_s_own_tools_keep_scopes() {
    let gateway = TestGateway::start().await;
    let connect = |version, id: &str, mode: &str| {
        Connect::cli(version, &gateway.secret, &["operator.admin"])
            .set("/client/id", json!(id))
            .set("/client/mode", json!(mode))
    };
    for (id, mode, kept) in [
        ("cli", "cli", true),
        ("gateway-client", "backend", true),
        ("gateway-client", "ui", false),
        ("cli", "probe", false),
        ("test", "test", false),
    ] {
        let (mut client, hello) = Client::connect(gateway.address, &connect(4, id, mode)).await;
        let scopes = if kept {
            json!(["operator.admin"])
        } else {
            json!([])
        };
        assert_eq!(hello["auth"]["scopes"], scopes, "{id}/{mode}");
        assert_eq!(client.ok("health", json!({})).await["ok"], true);
        if !kept {
            let error = client.error("sessions.list", json!({})).await;
            assert_eq!(error["code"], "FORBIDDEN");
            assert_eq!(error["details"]["missingScope"], "operator.read");
        }
    }
    let (mut client, hello) = Client::connect(gateway.address, &connect(3, "cli", "cli")).await;
    assert!(
        hello.get("auth").is_none(),
        "version 3 tells no auth without a device"
    );
    let error = client.error("sessions.list", json!({})).await;
    assert_eq!(
        error,
        json!({"code": "INVALID_REQUEST", "message": "missing scope: operator.read"})
    );
    gateway.peers.become_user(4001);
    let (_, hello) = Client::connect(gateway.address, &connect(4, "cli", "cli")).await;
    assert_eq!(hello["auth"]["scopes"], json!([]), "another user's tool");
    gateway.peers.become_unknown();
    let (_, hello) = Client::connect(gateway.address, &connect(4, "cli", "cli")).await;
    assert_eq!(
        hello["auth"]["scopes"],
        json!([]),
        "nobody knows whose tool"
    );
}

#[tokio::test]
async fn a_missing_scopes_member_asks_for_nothing_and_unknown_scopes_are_dropped() {
    let gateway = TestGateway::start().await;
    let device = || Device::new(3);
    let none = Connect::cli(4, &gateway.secret, &[])
        .without("/scopes")
        .with_device(device());
    let (_, hello) = Client::connect(gateway.address, &none).await;
    assert_eq!(hello["auth"]["scopes"], json!([]));
    let odd =
        Connect::cli(4, &gateway.secret, &["operator.root", "operator.read"]).with_device(device());
    let (_, hello) = Client::connect(gateway.address, &odd).await;
    assert_eq!(hello["auth"]["scopes"], json!(["operator.read"]));
}

#[tokio::test]
async fn password_mode_and_mode_none_follow_their_own_rules() {
    let gateway = TestGateway::start_with(|settings| {
        settings.auth.mode = AuthMode::Password;
        settings.auth.password = Some(Secret::new("fixture-password"));
    })
    .await;
    let base = Connect::cli(4, "", &["operator.read"]).with_device(Device::new(5));
    for (auth, good) in [
        (json!({"password": "fixture-password"}), true),
        (json!({"token": "fixture-password"}), true),
        (
            json!({"token": "bad", "password": "fixture-password"}),
            true,
        ),
        (json!({"password": "bad"}), false),
    ] {
        let connect = base.clone().set("/auth", auth.clone());
        let mut client = Client::open(gateway.address).await;
        let response = client.greet(&connect).await;
        assert_eq!(response["ok"], good, "{auth}: {response}");
        if !good {
            assert_eq!(
                response["error"]["details"]["code"],
                "AUTH_PASSWORD_MISMATCH"
            );
        }
    }
    let open = TestGateway::start_with(|settings| settings.auth.mode = AuthMode::None).await;
    let any = Connect::cli(4, "whatever", &["operator.read"]);
    let (error, ..) = Client::refused(open.address, &any).await;
    assert_eq!(error["message"], "device identity required");
    let with_device = any.with_device(Device::new(5));
    let (_, hello) = Client::connect(open.address, &with_device).await;
    assert_eq!(hello["auth"]["method"], "none");
}

#[tokio::test]
async fn first_frames_that_are_no_connect_are_told_or_closed_as_official_gateways_do() {
    let gateway = TestGateway::start().await;
    for (text, code, reason) in [
        ("{not json", 1000, ""),
        ("42", 1008, "invalid request frame"),
        (
            r#"{"type":"event","event":"x"}"#,
            1008,
            "invalid request frame",
        ),
    ] {
        let mut client = Client::open(gateway.address).await;
        client.send_text(text.to_owned()).await;
        assert_eq!(client.closed().await, (code, reason.to_owned()), "{text}");
    }
    let mut client = Client::open(gateway.address).await;
    client
        .send_raw(Message::Binary(vec![0xff, 0xfe].into()))
        .await;
    assert_eq!(client.closed().await.0, 1000);
    let mut client = Client::open(gateway.address).await;
    client
        .send(&json!({"type": "req", "id": "1", "method": "config.apply", "params": {}}))
        .await;
    let words = "invalid handshake: first request must be connect";
    assert_eq!(client.frame().await["error"]["message"], words);
    assert_eq!(client.closed().await, (1008, words.to_owned()));
    // A connect in a binary message counts.
    let mut client = Client::open(gateway.address).await;
    let params = Connect::cli(4, &gateway.secret, &[]).params;
    let frame = json!({"type": "req", "id": "1", "method": "connect", "params": params});
    client
        .send_raw(Message::Binary(frame.to_string().into_bytes().into()))
        .await;
    assert_eq!(client.frame().await["ok"], true);
}

#[tokio::test]
async fn a_message_before_hello_may_be_small_and_after_it_large() {
    let gateway = TestGateway::start().await;
    let mut client = Client::open(gateway.address).await;
    client.send_text("x".repeat(70_000)).await;
    assert_eq!(client.closed().await, (1009, String::new()));
    let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    let large = json!({"filler": "x".repeat(1_000_000)});
    assert_eq!(client.ok("health", large).await["ok"], true);
}

#[tokio::test]
async fn after_hello_bad_frames_are_answered_and_a_second_connect_is_refused() {
    let gateway = TestGateway::start().await;
    let connect = Connect::cli(4, &gateway.secret, &["operator.admin"]);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    client.send_text("not json".to_owned()).await;
    client
        .send_text(r#"{"type":"req","id":"x"}"#.to_owned())
        .await;
    let answer = client.response("x").await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("invalid request frame: "), "{message}");
    client.send_text("[]".to_owned()).await;
    assert_eq!(client.response("invalid").await["ok"], false);
    let again = client.error("connect", json!({})).await;
    assert_eq!(
        again["message"],
        "connect is only valid as the first request"
    );
    let unknown = client.error("no.such", json!({})).await;
    assert_eq!(unknown["message"], "unknown method: no.such");
    let connect = Connect::cli(4, &gateway.secret, &["operator.write"]);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    let hidden = client.error("no.such", json!({})).await;
    assert_eq!(hidden["message"], "missing scope: operator.admin");
}
