//! The attacks of docs/SECURITY.md, each as a recipe: refused by the gateway as it ships, and, to
//! show that the test can fail, successful against one that leaves the check out.

mod approvals;
mod browser;
mod config;
mod daemon;
mod device;
mod guessing;
mod nodes;
mod pairing;
mod proxy;
mod rotation;
mod secret;
mod setup;
mod slow;
mod whereabouts;

use clawline_gateway::policy::Policy;
use clawline_gateway::settings::GatewaySettings;
use serde_json::{Value, json};

use crate::support::{Client, Connect, TestGateway};

/// What an attack got, or the refusal.
type Outcome = Result<Value, Value>;

/// Runs an attack against a gateway with all checks, which must refuse it, and against one that leaves
/// out what `leave` says, where it must succeed. The refusal comes back.
async fn refused_unless(
    leave: fn(&mut Policy),
    change: impl Fn(&mut GatewaySettings),
    attack: impl AsyncFn(&TestGateway) -> Outcome,
) -> Value {
    let start = async |policy| TestGateway::start_under(policy, &change).await;
    refused_where(start, leave, attack).await
}

/// As [`refused_unless`], of gateways that keep their deadlines to the second.
async fn refused_on_time_unless(
    leave: fn(&mut Policy),
    attack: impl AsyncFn(&TestGateway) -> Outcome,
) -> Value {
    refused_where(TestGateway::start_punctual, leave, attack).await
}

async fn refused_where(
    start: impl AsyncFn(Policy) -> TestGateway,
    leave: fn(&mut Policy),
    attack: impl AsyncFn(&TestGateway) -> Outcome,
) -> Value {
    let gateway = start(Policy::default()).await;
    let refusal = match attack(&gateway).await {
        Err(refusal) => refusal,
        Ok(got) => panic!("the attack got through: {got}"),
    };
    let open = start(Policy::leaving_out(leave)).await;
    if let Err(refusal) = attack(&open).await {
        panic!("refused without the check, too, so the test proves nothing: {refusal}");
    }
    refusal
}

/// From the answer to a call to what the attack got, or the refusal.
fn outcome(answer: &Value) -> Outcome {
    match answer["ok"] == true {
        true => Ok(answer["payload"].clone()),
        false => Err(answer["error"].clone()),
    }
}

/// Opens a socket with these headers and connects; the hello, or the refusal: `{status, body}` of
/// HTTP, or `{error, close, reason}`.
async fn enter(gateway: &TestGateway, headers: &[(&str, &str)], connect: &Connect) -> Outcome {
    enter_keeping(gateway, headers, connect)
        .await
        .map(|(_, hello)| hello)
}

/// As [`enter`], with the open connection.
async fn enter_keeping(
    gateway: &TestGateway,
    headers: &[(&str, &str)],
    connect: &Connect,
) -> Result<(Client, Value), Value> {
    let mut client = match Client::try_open(gateway.address, headers).await {
        Ok(client) => client,
        Err((status, body)) => {
            let body: Value = serde_json::from_str(&body).unwrap();
            return Err(json!({"status": status, "body": body}));
        }
    };
    let answer = client.greet(connect).await;
    told(client, answer).await
}

/// From the answer to a `connect` to an [`Outcome`].
async fn told(mut client: Client, answer: Value) -> Result<(Client, Value), Value> {
    if answer["ok"] == true {
        return Ok((client, answer["payload"].clone()));
    }
    let (close, reason) = client.closed().await;
    Err(json!({"error": answer["error"], "close": close, "reason": reason}))
}

/// The refusal of a `connect` with this code and message, and nothing else in `details`.
fn told_and_closed(code: &str, message: &str, details: &Value) -> Value {
    json!({
        "error": {"code": code, "message": message, "details": details},
        "close": 1008, "reason": message[..message.len().min(120)],
    })
}

fn no_change(_: &mut GatewaySettings) {}
