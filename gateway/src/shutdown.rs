//! What happens by the clock while the daemon runs, and the order in which it stops.

use std::time::Duration;

use clawline::protocol::event::TickEvent;
use clawline::protocol::limits;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::conn::Push;
use crate::state::App;
use crate::store::now_ms;

/// Time between two `health` events.
const HEALTH_INTERVAL: Duration = Duration::from_secs(60);
/// Time between two looks for devices that are not kept any longer.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(3600);
/// Connects and disconnects within this time are told in one `presence` event.
const PRESENCE_PAUSE: Duration = Duration::from_millis(100);

/// How long calls may take to be answered once the runs have ended.
const CALLS_DEADLINE: Duration = Duration::from_secs(2);
/// How long accept loops and heartbeat may take to end; what they do is short.
const SERVERS_DEADLINE: Duration = Duration::from_secs(2);

/// A listener, the heartbeat or the watcher of the configuration ended by a fault. Without it the
/// gateway would go on, deaf on that side.
#[derive(Debug, thiserror::Error)]
#[error("a part of the gateway broke ({why}); it has stopped, start it again")]
pub struct Broken {
    why: String,
}

/// Waits for one of these tasks to break. Safe to drop.
pub(crate) async fn broken(servers: &mut JoinSet<()>) -> Broken {
    while let Some(ended) = servers.join_next().await {
        if let Err(error) = ended {
            let why = error.to_string();
            tracing::error!(why, "a part of the gateway broke; the gateway stops");
            return Broken { why };
        }
    }
    std::future::pending().await
}

/// Sends `tick`, `health` and `presence`, and clears what has expired, until the daemon stops.
pub(crate) async fn heartbeat(app: App) {
    let every = |period| {
        let mut interval = interval_at(Instant::now() + period, period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval
    };
    let mut tick = every(limits::TICK_INTERVAL);
    let mut health = every(HEALTH_INTERVAL);
    let mut upkeep = tokio::time::interval(UPKEEP_INTERVAL);
    upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = tick.tick() => {
                let event = TickEvent { ts: now_ms() };
                app.registry.broadcast(&Push::latest("tick", &event, None));
            }
            _ = health.tick() => {
                app.pairing.expire().await;
                app.approvals.expire().await;
                app.broadcast_health().await;
            }
            _ = upkeep.tick() => app.pairing.forget_unseen().await,
            () = app.registry.presence_change() => {
                tokio::time::sleep(PRESENCE_PAUSE).await;
                app.broadcast_presence();
            }
        }
    }
}

/// Stops in order: nothing new comes in, every client is told, answers that are being written may
/// complete while their clients watch, calls are answered, connections close, the store closes.
/// `servers` are the accept loops and the heartbeat.
pub(crate) async fn stop(app: &App, mut servers: JoinSet<()>) {
    app.drain.cancel();
    app.registry.announce_stop();
    let grace = app.settings().grace;
    app.runs.stop(grace).await;
    app.calls.close();
    if timeout(CALLS_DEADLINE, app.calls.wait()).await.is_err() {
        tracing::warn!("some calls stay without an answer");
    }
    app.stop.cancel();
    let all_ended = async { while servers.join_next().await.is_some() {} };
    if timeout(SERVERS_DEADLINE, all_ended).await.is_err() {
        tracing::warn!("some listeners did not end in time");
        servers.abort_all();
    }
    app.tasks.close();
    if timeout(grace, app.tasks.wait()).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
    app.store.close().await;
}
