//! SECURITY S3b, S17, S18, S22, S23: guessing, and secrets that are guessed.

use clawline::secret::Secret;
use clawline_gateway::policy::Policy;
use clawline_gateway::settings::{AuthMode, GatewaySettings, RateLimit};
use serde_json::{Value, json};

use super::{enter, no_change, refused_unless};
use crate::support::{Client, Connect, Device, OWN_UID, TestGateway};

const OTHER_USER: u32 = 4001;

fn code(refusal: &Value) -> &str {
    refusal["error"]["details"]["code"].as_str().unwrap_or("")
}

#[tokio::test]
async fn s3_a_page_of_ours_that_guesses_is_locked_even_from_loopback() {
    let began = std::time::Instant::now();
    let refusal = refused_unless(
        |policy| policy.lockout = false,
        no_change,
        async |gateway| {
            let own_page = format!("http://{}", gateway.address);
            let headers = [("origin", own_page.as_str())];
            for guess in 0..10 {
                let wrong = Connect::cli(4, &format!("wrong {guess}"), &[]);
                let wrong = wrong.with_device(Device::new(41));
                let refusal = enter(gateway, &headers, &wrong).await.unwrap_err();
                assert_eq!(code(&refusal), "AUTH_TOKEN_MISMATCH", "guess {guess}");
            }
            enter(gateway, &headers, &Connect::cli(4, &gateway.secret, &[])).await
        },
    )
    .await;
    assert_eq!(code(&refusal), "AUTH_RATE_LIMITED");
    let error = &refusal["error"];
    assert_eq!(error["retryable"], true);
    let wait = error["retryAfterMs"].as_u64().unwrap();
    let passed = u64::try_from(began.elapsed().as_millis()).unwrap();
    assert!((299_999 - passed..=300_000).contains(&wait), "{wait}");
    assert_eq!(error["details"]["recommendedNextStep"], "wait_then_retry");
}

#[tokio::test]
async fn s3_the_owner_s_own_tools_are_never_locked_out() {
    let gateway = TestGateway::start().await;
    for _ in 0..30 {
        let wrong = Connect::cli(4, "wrong", &[]);
        enter(&gateway, &[], &wrong).await.unwrap_err();
    }
    let right = Connect::cli(4, &gateway.secret, &["operator.admin"]);
    enter(&gateway, &[], &right).await.unwrap();
}

#[tokio::test]
async fn s17_a_device_token_beside_it_does_not_make_guesses_free() {
    for member in ["deviceToken", "bootstrapToken"] {
        let refusal = refused_unless(
            |policy| policy.count_every_guess = false,
            no_change,
            async |gateway| {
                gateway.peers.become_user(OTHER_USER);
                for guess in 0..10 {
                    let wrong = Connect::cli(4, "", &[])
                        .set("/auth", json!({member: format!("bad {guess}")}))
                        .with_device(Device::new(42));
                    enter(gateway, &[], &wrong).await.unwrap_err();
                }
                enter(gateway, &[], &Connect::cli(4, &gateway.secret, &[])).await
            },
        )
        .await;
        assert_eq!(code(&refusal), "AUTH_RATE_LIMITED", "{member}");
    }
    let gateway = TestGateway::start().await;
    gateway.peers.become_user(OTHER_USER);
    for guess in 0..11 {
        let auth = json!({"token": format!("bad {guess}"), "deviceToken": "zzz"});
        let wrong = Connect::cli(4, "", &[]).set("/auth", auth);
        let refusal = enter(&gateway, &[], &wrong.with_device(Device::new(42)))
            .await
            .unwrap_err();
        assert_eq!(
            code(&refusal) == "AUTH_RATE_LIMITED",
            guess == 10,
            "{guess}"
        );
    }
}

#[tokio::test]
async fn s18_many_sockets_at_once_have_no_more_guesses_than_one() {
    let refusal = refused_unless(
        |policy| policy.guess_budget = false,
        // The lock of one source shall not be what stops it.
        |settings| {
            settings.rate_limit = RateLimit {
                max_attempts: 1000,
                ..RateLimit::default()
            };
        },
        async |gateway| {
            gateway.peers.become_user(OTHER_USER);
            let started = std::time::Instant::now();
            let guess = |guess: usize| {
                let (address, token) = (gateway.address, format!("wrong {guess}"));
                async move {
                    let connect = Connect::cli(4, &token, &[]);
                    Client::refused(address, &connect).await.0
                }
            };
            let mut compared = 0;
            for round in 0..4 {
                let guesses = (0..50).map(|n| guess(round * 50 + n));
                let refusals = futures_util::future::join_all(guesses).await;
                let is_compared =
                    |error: &&Value| error["details"]["code"] == "AUTH_TOKEN_MISMATCH";
                compared += refusals.iter().filter(is_compared).count();
            }
            let allowed = 21 + usize::try_from(started.elapsed().as_secs()).unwrap();
            if compared > allowed {
                return Ok(json!(compared));
            }
            // The owner is not shut out meanwhile.
            gateway.peers.become_user(OWN_UID);
            let owner = Connect::cli(4, &gateway.secret, &["operator.admin"]);
            enter(gateway, &[], &owner).await.unwrap();
            Err(json!(compared))
        },
    )
    .await;
    assert!(refusal.as_u64().unwrap() >= 20, "{refusal}");
}

#[tokio::test]
async fn s22_s23_b7_secrets_that_are_none_are_refused_at_the_start_and_never_shown() {
    type Change = fn(&mut GatewaySettings);
    let cases: [(Change, &str); 6] = [
        (|s| s.auth.token = Some(Secret::new("")), "is blank"),
        (
            |s| s.auth.token = Some(Secret::new("undefined")),
            "is a placeholder",
        ),
        (
            |s| s.auth.token = Some(Secret::new("replace-me")),
            "is a placeholder",
        ),
        (
            |s| s.auth.token = Some(Secret::new("hunt2")),
            "is shorter than",
        ),
        (
            |s| {
                s.auth.mode = AuthMode::Password;
                s.auth.password = Some(Secret::new("null"));
            },
            "gateway.auth.password is a placeholder",
        ),
        (
            |s| {
                s.auth.token = Some(Secret::new("the very same text"));
                s.auth.password = Some(Secret::new("the very same text"));
            },
            "gateway.auth.token and gateway.auth.password are the same",
        ),
    ];
    for (change, expected) in cases {
        let words = TestGateway::refused_to_start(Policy::default(), change).await;
        assert!(words.contains(expected), "{words}");
        for secret in ["hunt2", "undefined", "very same text"] {
            assert!(!words.contains(secret), "{words}");
        }
        // Without the check it starts.
        let open = Policy::leaving_out(|policy| policy.weak_secret = false);
        TestGateway::start_under(open, change).await;
    }
}
