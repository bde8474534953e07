//! How often the configuration may be written: a client that runs in a circle does not wear out the disk
//! and the daemon that reads it again. As official gateways have it: 30 in 60 s, for each method, device
//! and address. Who calls has the scope already, so this is no border, only a bound.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clawline::protocol::error::RpcError;
use serde_json::json;
use tokio::time::Instant;

use crate::conn::Conn;

/// Writes in a window.
const WRITES: u32 = 30;
/// The window; it begins with the first write.
const WINDOW: Duration = Duration::from_secs(60);
/// Callers that are remembered; those whose window is over make room.
const MAX_CALLERS: usize = 1024;

/// Whose writes are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Caller {
    method: &'static str,
    device: Option<String>,
    address: IpAddr,
}

/// Writes that were made lately.
#[derive(Debug, Default)]
pub(crate) struct WriteBudget(Mutex<HashMap<Caller, Window>>);

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Instant,
    writes: u32,
}

impl WriteBudget {
    /// Takes one write of this connection; where there is none left, the refusal with the time after
    /// which there is another one.
    pub(super) fn refusal(&self, method: &'static str, conn: &Conn) -> Option<RpcError> {
        let caller = Caller {
            method,
            device: conn.principal.device_id.clone(),
            address: conn.caller.client,
        };
        let left = self.take_at(caller, Instant::now()).err()?;
        let ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
        let words = format!(
            "rate limit exceeded for {method}; retry after {}s",
            ms.div_ceil(1000)
        );
        let limit = format!("{WRITES} per {}s", WINDOW.as_secs());
        let error = RpcError::unavailable(words)
            .details(json!({"method": method, "limit": limit}))
            .retry_after(ms);
        Some(error)
    }

    fn take_at(&self, caller: Caller, now: Instant) -> Result<(), Duration> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = |window: &Window| now.saturating_duration_since(window.since);
        if windows.len() >= MAX_CALLERS && !windows.contains_key(&caller) {
            windows.retain(|_, window| age(window) < WINDOW);
            let oldest = windows.iter().max_by_key(|(_, window)| age(window));
            let oldest = oldest.map(|(caller, _)| caller.clone());
            if let Some(oldest) = oldest.filter(|_| windows.len() >= MAX_CALLERS) {
                windows.remove(&oldest);
            }
        }
        let window = windows.entry(caller).or_insert(Window {
            since: now,
            writes: 0,
        });
        if age(window) >= WINDOW {
            *window = Window {
                since: now,
                writes: 0,
            };
        }
        if window.writes >= WRITES {
            return Err(WINDOW.saturating_sub(age(window)));
        }
        window.writes += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(method: &'static str, device: u32) -> Caller {
        Caller {
            method,
            device: Some(device.to_string()),
            address: [127, 0, 0, 1].into(),
        }
    }

    #[test]
    fn thirty_writes_a_minute_for_each_method_and_device_and_then_again() {
        let budget = WriteBudget::default();
        let start = Instant::now();
        let writes = |method, device, at| {
            let take = |_: &u32| budget.take_at(caller(method, device), at).is_ok();
            (0..40).filter(take).count()
        };
        assert_eq!(writes("config.patch", 1, start), 30);
        assert_eq!(writes("config.apply", 1, start), 30);
        assert_eq!(writes("config.patch", 2, start), 30);
        let later = start + Duration::from_secs(25);
        let left = budget.take_at(caller("config.patch", 1), later);
        assert_eq!(left, Err(Duration::from_secs(35)));
        assert_eq!(writes("config.patch", 1, start + WINDOW), 30);
    }

    #[test]
    fn many_devices_fill_no_memory_and_the_latest_still_counts() {
        let budget = WriteBudget::default();
        let start = Instant::now();
        for device in 0..5000 {
            let at = start + Duration::from_millis(device.into());
            budget.take_at(caller("config.set", device), at).unwrap();
        }
        let windows = budget.0.lock().unwrap();
        assert_eq!(windows.len(), MAX_CALLERS);
        assert!(windows.contains_key(&caller("config.set", 4999)));
    }
}
