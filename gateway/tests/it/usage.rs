//! Tokens and costs: what providers told, by session and by day, and honest gaps.

use serde_json::{Value, json};

use crate::support::{Client, Connect, Device, TestGateway};

const ALL: &[&str] = &["operator.admin", "operator.read", "operator.write"];

/// Two echoes: one that costs three dollars for a million words, one without a price.
async fn gateway() -> TestGateway {
    TestGateway::start_with(|settings| {
        settings.models = serde_json::from_value(json!({
            "default": "priced/echo",
            "providers": {
                "priced": {"kind": "echo", "models": [
                    {"id": "echo", "contextWindow": 1000, "cost": {"input": 3, "output": 15}},
                ]},
                "gift": {"kind": "echo", "models": ["echo"]},
            },
        }))
        .unwrap();
    })
    .await
}

async fn operator(gateway: &TestGateway, version: u32) -> Client {
    let connect = Connect::cli(version, &gateway.secret, ALL).with_device(Device::new(1));
    Client::connect(gateway.address, &connect).await.0
}

async fn say(client: &mut Client, key: &str, run: &str) -> Value {
    let params = json!({"sessionKey": key, "message": "one two three", "idempotencyKey": run});
    client.ok("chat.send", params).await;
    let ends =
        |frame: &Value| frame["payload"]["runId"] == run && frame["payload"]["state"] == "final";
    client.until(ends).await
}

fn close(value: &Value, dollars: f64) -> bool {
    (value.as_f64().unwrap() - dollars).abs() < 1e-12
}

#[tokio::test]
async fn a_session_costs_what_its_tokens_cost_and_null_when_that_is_not_known() {
    for version in [3, 4] {
        let gateway = gateway().await;
        let mut client = operator(&gateway, version).await;
        let end = say(&mut client, "main", "r-1").await;
        let usage = &end["payload"]["usage"];
        let (input, output) = (
            usage["input"].as_f64().unwrap(),
            usage["output"].as_f64().unwrap(),
        );
        let dollars = (input * 3.0 + output * 15.0) / 1e6;
        assert!(close(&usage["cost"]["total"], dollars), "{usage}");
        let row = client.ok("sessions.describe", json!({"key": "main"})).await;
        let row = &row["session"];
        assert!(close(&row["estimatedCostUsd"], dollars), "{row}");
        assert_eq!(
            (&row["inputTokens"], &row["contextTokens"]),
            (&usage["input"], &json!(1000))
        );

        let model = json!({"key": "main", "model": "gift/echo"});
        client.ok("sessions.patch", model).await;
        let end = say(&mut client, "main", "r-2").await;
        assert_eq!(end["payload"]["usage"]["cost"], Value::Null);
        let row = client.ok("sessions.describe", json!({"key": "main"})).await;
        assert_eq!(row["session"]["estimatedCostUsd"], Value::Null);

        let today = client.ok("usage.cost", json!({"days": 1})).await;
        assert_eq!(today["days"], 1);
        // A day may have ended between the two.
        let cost = client.ok("usage.cost", json!({"days": 2})).await;
        let totals = &cost["totals"];
        assert!(close(&totals["totalCost"], dollars), "{cost}");
        assert_eq!(totals["missingCostEntries"], 1);
        let daily = cost["daily"].as_array().unwrap();
        assert!((1..=2).contains(&daily.len()), "{cost}");
        let tokens = daily.iter().map(|day| day["totalTokens"].as_u64().unwrap());
        assert_eq!(Some(tokens.sum()), totals["totalTokens"].as_u64());
        let status = client.ok("usage.status", json!({})).await;
        assert_eq!(status["providers"], json!([]));
    }
}

#[tokio::test]
async fn usage_is_told_by_session_and_survives_a_restart() {
    let gateway = gateway().await;
    let mut client = operator(&gateway, 4).await;
    for (key, run) in [("a", "r-1"), ("a", "r-2"), ("b", "r-3")] {
        say(&mut client, key, run).await;
    }
    client
        .ok("sessions.patch", json!({"key": "idle", "label": "idle"}))
        .await;
    let gateway = gateway.restart().await;
    let mut client = operator(&gateway, 4).await;
    let told = client.ok("sessions.usage", json!({"limit": 10})).await;
    let sessions = told["sessions"].as_array().unwrap();
    let of = |key: &str| sessions.iter().find(|row| row["key"] == key).unwrap();
    assert_eq!(of("agent:main:idle")["usage"], Value::Null);
    let a = &of("agent:main:a")["usage"];
    assert_eq!(a["modelUsage"][0]["count"], 2, "{a}");
    assert_eq!(a["messageCounts"]["user"], 2);
    assert_eq!(told["aggregates"]["messages"]["user"], 3);
    assert_eq!(told["aggregates"]["byModel"][0]["provider"], "priced");
    let one = client.ok("sessions.usage", json!({"key": "b"})).await;
    assert_eq!(one["aggregates"]["messages"]["user"], 1);
    assert_eq!(one["totals"], {
        let mut totals = of("agent:main:b")["usage"].clone();
        totals
            .as_object_mut()
            .unwrap()
            .retain(|name, _| !one["totals"][name].is_null());
        totals
    });
    client.ok("sessions.delete", json!({"key": "b"})).await;
    let gone = client.ok("sessions.usage", json!({"key": "b"})).await;
    assert_eq!(gone["sessions"], json!([]));
    let kept = client.ok("usage.cost", json!({})).await;
    assert_eq!(kept["totals"]["missingCostEntries"], 0);
}

#[tokio::test]
async fn bad_ranges_and_missing_scopes_are_refused() {
    let gateway = gateway().await;
    let mut client = operator(&gateway, 4).await;
    for (method, params) in [
        ("usage.cost", json!({"startDate": "yesterday"})),
        (
            "usage.cost",
            json!({"startDate": "2026-02-02", "endDate": "2026-02-01"}),
        ),
        ("usage.cost", json!({"endDate": "2026-02-30"})),
        ("sessions.usage", json!({"range": "2w"})),
        ("sessions.usage", json!({"key": "agent:main"})),
    ] {
        let error = client.error(method, params).await;
        assert_eq!(error["code"], "INVALID_REQUEST", "{method}");
    }
    let whole = json!({"startDate": "2026-01-01", "endDate": "2026-12-31"});
    assert_eq!(client.ok("usage.cost", whole).await["days"], 365);
    for (version, scope, missing) in [
        (4, "operator.pairing", "operator.read"),
        (3, "operator.read", "operator.admin"),
    ] {
        let connect = Connect::cli(version, &gateway.secret, &[scope]);
        let connect = connect.with_device(Device::new(u8::try_from(version).unwrap() + 2));
        let mut other = Client::connect(gateway.address, &connect).await.0;
        let error = other.error("sessions.usage", json!({})).await;
        assert_eq!(error["message"], format!("missing scope: {missing}"));
    }
}
