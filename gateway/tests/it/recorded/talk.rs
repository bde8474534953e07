//! A recorded message and what follows it, in both versions.

use serde_json::{Value, json};

use super::ended;
use super::replay::Replay;
use crate::support::Client;

/// Sends the next message and waits for the end of its answer.
pub async fn say(replay: &mut Replay, client: &mut Client, method: &str) {
    let sent = replay.next(client, method).await;
    let run = sent["payload"]["runId"].as_str().unwrap().to_owned();
    ended(client, &run).await;
}

/// Sends the next message, which is stopped by the call after it. More words than were recorded: the answer is
/// still under way then, on any machine.
pub async fn say_and_stop(replay: &mut Replay, client: &mut Client, send: &str, stop: &str) {
    let mut pair = replay.take(send);
    let longer = format!("{} {}", pair.params["message"], "word ".repeat(2000));
    pair.params["message"] = json!(longer);
    let run = pair.params["idempotencyKey"].as_str().unwrap().to_owned();
    let sent = replay.send_pair(client, pair).await;
    replay.answered(client, sent).await;
    let is_begun = |frame: &Value| {
        frame["event"] == "chat"
            && frame["payload"]["runId"] == *run
            && frame["payload"]["state"] == "delta"
    };
    client.until(is_begun).await;
    replay.next(client, stop).await;
    ended(client, &run).await;
}
