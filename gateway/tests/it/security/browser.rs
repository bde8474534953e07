//! SECURITY §1.1 and S30: web pages, names that are not ours, and proxies that make the world look local.

use serde_json::json;

use super::{enter, no_change, refused_unless};
use crate::support::Connect;

const EVIL: (&str, &str) = ("origin", "https://evil.example");

#[tokio::test]
async fn s3_a_web_page_is_refused_before_the_upgrade_even_with_the_right_token() {
    let refusal = refused_unless(
        |policy| policy.web_origin = false,
        no_change,
        async |gateway| {
            let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
            enter(gateway, &[EVIL], &connect).await
        },
    )
    .await;
    assert_eq!(refusal["status"], 403);
    let error = &refusal["body"]["error"];
    assert_eq!(error["type"], "origin_not_allowed");
    assert_eq!(error["code"], "CONTROL_UI_ORIGIN_NOT_ALLOWED");
}

#[tokio::test]
async fn s6_a_name_that_was_pointed_at_loopback_is_misdirected_on_every_route() {
    let refusal = refused_unless(
        |policy| policy.host_name = false,
        no_change,
        async |gateway| {
            let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
            enter(gateway, &[("host", "evil.example:18789")], &connect).await
        },
    )
    .await;
    assert_eq!(refusal["status"], 421);
    assert_eq!(
        refusal["body"]["error"]["type"],
        json!("misdirected_request")
    );
}

#[tokio::test]
async fn s30_forwarding_headers_of_somebody_who_is_no_trusted_proxy_are_refused() {
    for name in [
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
        "x-forwarded-host",
        "via",
        "cf-connecting-ip",
    ] {
        let refusal = refused_unless(
            |policy| policy.proxy_headers = false,
            no_change,
            async |gateway| {
                let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
                enter(gateway, &[(name, "203.0.113.9")], &connect).await
            },
        )
        .await;
        assert_eq!(refusal["status"], 403, "{name}");
        let kind = &refusal["body"]["error"]["type"];
        assert_eq!(kind, "proxy_attribution_required", "{name}");
    }
}
