//! SECURITY §1.3: reverse proxies, what they say, and who only claims to be one.

use clawline::secret::Secret;
use clawline_gateway::policy::Policy;
use clawline_gateway::settings::{AuthMode, GatewaySettings, IpRange, RateLimit};
use serde_json::json;

use super::{enter, refused_unless, told_and_closed};
use crate::support::{Client, Connect, Device, OWN_UID, TestGateway};

const PROXY_UID: u32 = 4077;
const USER: (&str, &str) = ("x-forwarded-user", "ana@x");
const PROTO: (&str, &str) = ("x-forwarded-proto", "https");
const FROM: (&str, &str) = ("x-forwarded-for", "203.0.113.9");

/// Mode `trusted-proxy` behind a proxy on this machine that runs as a user of its own.
fn behind_proxy(settings: &mut GatewaySettings) {
    settings.auth.mode = AuthMode::TrustedProxy;
    settings.trusted_proxies = vec![IpRange::parse("127.0.0.1").unwrap()];
    let proxy = &mut settings.auth.trusted_proxy;
    proxy.user_header = "x-forwarded-user".into();
    proxy.required_headers = vec!["x-forwarded-proto".into()];
    proxy.allow_users = vec!["ana@x".into()];
    proxy.allow_loopback = true;
    proxy.proxy_uid = Some(PROXY_UID);
}

fn cli() -> Connect {
    Connect::cli(4, "", &["operator.read"]).without("/auth")
}

#[tokio::test]
async fn the_recorded_cases_of_trusted_proxy_are_answered_as_recorded() {
    let gateway = TestGateway::start_with(behind_proxy).await;
    gateway.peers.become_user(PROXY_UID);
    let all = [FROM, PROTO, USER];
    let with_device = || cli().with_device(Device::new(31));
    let paired = enter(&gateway, &all, &with_device()).await.unwrap_err();
    assert_eq!(paired["error"]["details"]["code"], "PAIRING_REQUIRED");
    assert_eq!(paired["error"]["details"]["reason"], "not-paired");
    let hello = enter(&gateway, &all, &cli()).await.unwrap();
    assert_eq!(hello["auth"]["method"], "trusted-proxy");
    assert_eq!(hello["auth"]["scopes"], json!([]));
    let node = cli()
        .set("/client/id", json!("node-host"))
        .set("/client/mode", json!("node"))
        .set("/role", json!("node"))
        .set("/scopes", json!([]))
        .with_device(Device::new(32));
    let node = enter(&gateway, &all, &node).await.unwrap_err();
    assert_eq!(node["error"]["details"]["requestedRole"], "node");
    let fault = |code: &str, reason: &str| {
        let details = json!({
            "code": code, "authReason": reason, "canRetryWithDeviceToken": false,
            "recommendedNextStep": "review_auth_configuration",
        });
        told_and_closed("INVALID_REQUEST", "unauthorized", &details)
    };
    let other = ("x-forwarded-user", "bob@x");
    let no_proto = "trusted_proxy_missing_header_x-forwarded-proto";
    let token = with_device().set("/auth", json!({"token": "x"}));
    for (headers, connect, expected) in [
        (
            &[FROM, PROTO, other][..],
            with_device(),
            fault("AUTH_UNAUTHORIZED", "trusted_proxy_user_not_allowed"),
        ),
        (
            &[FROM, PROTO],
            with_device(),
            fault("AUTH_UNAUTHORIZED", "trusted_proxy_user_missing"),
        ),
        (
            &[FROM, USER],
            with_device(),
            fault("AUTH_IDENTITY_HEADER_REQUIRED", no_proto),
        ),
        (
            &[],
            with_device(),
            fault("AUTH_IDENTITY_HEADER_REQUIRED", no_proto),
        ),
        (&[], token, fault("AUTH_IDENTITY_HEADER_REQUIRED", no_proto)),
    ] {
        assert_eq!(enter(&gateway, headers, &connect).await, Err(expected));
    }
    // Version 3 is told the word alone.
    let v3 = with_device()
        .set("/minProtocol", json!(3))
        .set("/maxProtocol", json!(3));
    let refusal = enter(&gateway, &[], &v3).await.unwrap_err();
    assert_eq!(
        refusal["error"],
        json!({"code": "INVALID_REQUEST", "message": "unauthorized"})
    );
}

#[tokio::test]
async fn s4_a_web_page_behind_the_proxy_is_a_web_page() {
    let refusal = refused_unless(
        |policy| policy.web_origin = false,
        behind_proxy,
        async |gateway| {
            gateway.peers.become_user(PROXY_UID);
            let evil = ("origin", "https://evil.example");
            enter(gateway, &[FROM, PROTO, USER, evil], &cli()).await
        },
    )
    .await;
    assert_eq!(refusal["status"], 403);
    assert_eq!(refusal["body"]["error"]["type"], "origin_not_allowed");
}

#[tokio::test]
async fn s32_guesses_are_counted_for_the_hop_that_the_proxy_itself_wrote() {
    let refusal = refused_unless(
        |policy| policy.rightmost_hop = false,
        |settings| {
            settings.trusted_proxies = vec![IpRange::parse("127.0.0.1").unwrap()];
            settings.rate_limit = RateLimit {
                max_attempts: 5,
                ..RateLimit::default()
            };
        },
        async |gateway| {
            // The client writes another left hop each time; the proxy adds the true one.
            for guess in 0..5 {
                let hops = format!("198.51.100.{guess}, 203.0.113.9");
                let wrong = Connect::cli(4, "a wrong token", &[]);
                let headers = [("x-forwarded-for", hops.as_str())];
                enter(gateway, &headers, &wrong).await.unwrap_err();
            }
            let headers = [("x-forwarded-for", "198.51.100.77, 203.0.113.9")];
            enter(gateway, &headers, &Connect::cli(4, &gateway.secret, &[])).await
        },
    )
    .await;
    assert_eq!(refusal["error"]["details"]["code"], "AUTH_RATE_LIMITED");
}

#[tokio::test]
async fn s33_a_process_on_this_machine_is_not_the_proxy_because_it_says_so() {
    let forge = async |gateway: &TestGateway| {
        gateway.peers.become_user(OWN_UID);
        enter(gateway, &[FROM, PROTO, USER], &cli()).await
    };
    let refusal = refused_unless(
        |policy| policy.proxy_proves_itself = false,
        behind_proxy,
        forge,
    )
    .await;
    let details = &refusal["error"]["details"];
    assert_eq!(details["authReason"], "trusted_proxy_untrusted_source");
    // Even the proxy's own user, where the proxy is not expected on this machine.
    let refusal = refused_unless(
        |policy| policy.proxy_proves_itself = false,
        |settings| {
            behind_proxy(settings);
            settings.auth.trusted_proxy.allow_loopback = false;
        },
        async |gateway| {
            gateway.peers.become_user(PROXY_UID);
            enter(gateway, &[FROM, PROTO, USER], &cli()).await
        },
    )
    .await;
    assert_eq!(refusal["close"], 1008);
    // A secret that the proxy adds serves where its user cannot be told.
    let gateway = TestGateway::start_with(|settings| {
        behind_proxy(settings);
        let proxy = &mut settings.auth.trusted_proxy;
        proxy.proxy_uid = None;
        proxy.secret = Some(("x-proxy-secret".into(), Secret::new("between us two")));
    })
    .await;
    gateway.peers.become_unknown();
    let wrong = ("x-proxy-secret", "between us");
    assert!(
        enter(&gateway, &[FROM, PROTO, USER, wrong], &cli())
            .await
            .is_err()
    );
    let right = ("x-proxy-secret", "between us two");
    enter(&gateway, &[FROM, PROTO, USER, right], &cli())
        .await
        .unwrap();
}

#[tokio::test]
async fn s33_the_owner_s_own_process_gains_nothing_by_naming_itself() {
    // No forwarding header, only the user's: still the proxy's word, and never the silent path.
    let gateway = TestGateway::start_with(|settings| {
        behind_proxy(settings);
        settings.auth.trusted_proxy.required_headers.clear();
        settings.auth.trusted_proxy.user_header = "remote-user".into();
        settings.auth.trusted_proxy.proxy_uid = Some(OWN_UID);
    })
    .await;
    let admin = Connect::cli(4, "", &["operator.admin"])
        .without("/auth")
        .with_device(Device::new(33));
    let user = ("remote-user", "ana@x");
    let refusal = enter(&gateway, &[user], &admin).await.unwrap_err();
    assert_eq!(refusal["error"]["details"]["code"], "PAIRING_REQUIRED");
}

#[tokio::test]
async fn a_device_token_of_an_earlier_day_is_no_way_around_the_proxy() {
    let gateway = TestGateway::start().await;
    let device = || Device::new(34);
    let reader = Connect::cli(4, &gateway.secret, &["operator.read"]).with_device(device());
    let hello = enter(&gateway, &[], &reader).await.unwrap();
    let token = hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
    let mut gateway = gateway.pause().await;
    behind_proxy(&mut gateway.settings);
    let gateway = gateway.resume().await;
    let again = Connect::cli(4, &token, &["operator.read"]).with_device(device());
    let refusal = enter(&gateway, &[], &again).await.unwrap_err();
    assert_eq!(
        refusal["error"]["details"]["code"],
        "AUTH_IDENTITY_HEADER_REQUIRED"
    );
    gateway.peers.become_user(PROXY_UID);
    let hello = enter(&gateway, &[FROM, PROTO, USER], &again).await.unwrap();
    assert_eq!(hello["auth"]["method"], "trusted-proxy");
}

#[tokio::test]
async fn s34_a_token_beside_the_proxy_is_refused_at_the_start() {
    let refused = async |change: fn(&mut GatewaySettings)| {
        TestGateway::refused_to_start(Policy::default(), |settings| {
            behind_proxy(settings);
            change(settings);
        })
        .await
    };
    let words = refused(|settings| {
        settings.auth.token = Some(Secret::new("a token beside it"));
    })
    .await;
    assert!(words.contains("token or a password"), "{words}");
    assert!(!words.contains("beside it"), "{words}");
    let words = refused(|settings| settings.trusted_proxies.clear()).await;
    assert!(words.contains("gateway.trustedProxies is empty"), "{words}");
    // Without the check it starts.
    let open = Policy::leaving_out(|policy| policy.weak_secret = false);
    TestGateway::start_under(open, |settings| {
        behind_proxy(settings);
        settings.auth.token = Some(Secret::new("a token beside it"));
    })
    .await;
}

#[tokio::test]
async fn s69_a_crowd_behind_the_proxy_takes_no_place_of_another_client_behind_it() {
    let refusal = refused_unless(
        |policy| policy.places_behind_proxy = false,
        |settings| settings.trusted_proxies = vec![IpRange::parse("127.0.0.1").unwrap()],
        async |gateway| {
            let open = async |client: &'static str| {
                let headers = [("x-forwarded-for", client)];
                let opened = Client::try_open(gateway.address, &headers).await;
                opened.unwrap_or_else(|refused| panic!("{refused:?}"))
            };
            let mut other = open("198.51.100.7").await;
            let mut crowd = Vec::new();
            for _ in 0..140 {
                crowd.push(open("203.0.113.9").await);
            }
            // The newest is there in any case, so its neighbours were counted.
            let mut newest = crowd.pop().unwrap();
            let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
            assert_eq!(newest.greet(&connect).await["ok"], true);
            match other.try_greet(&connect).await {
                Some(answer) => Err(answer["ok"].clone()),
                None => Ok(json!("the other client was sent away")),
            }
        },
    )
    .await;
    assert_eq!(refusal, true);
}

#[tokio::test]
async fn s35_tailscale_headers_mean_nothing_on_the_main_listener() {
    let refusal = refused_unless(
        |policy| {
            policy.proxy_headers = false;
            policy.credential = false;
        },
        |_| {},
        async |gateway| {
            let headers = [
                ("tailscale-user-login", "a@b.c"),
                ("x-forwarded-for", "100.64.0.9"),
                PROTO,
                ("x-forwarded-host", "home.ts.net"),
            ];
            enter(gateway, &headers, &Connect::cli(4, "x", &[])).await
        },
    )
    .await;
    assert_eq!(refusal["status"], 403);
    let kind = &refusal["body"]["error"]["type"];
    assert_eq!(kind, "proxy_attribution_required");
}
