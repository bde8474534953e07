//! Any output of the far side is a gateway that was found, or nothing. The parser belongs to the app, which is no library.
#![no_main]

#[allow(dead_code)]
#[path = "../../tui/src/link/discovery.rs"]
mod discovery;
#[allow(dead_code)]
#[path = "../../tui/src/link/listeners.rs"]
mod listeners;

use clawline::config::GatewayKind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(parts) = discovery::split(text) else {
        return;
    };
    for wanted in [None, Some(GatewayKind::Clawline), Some(GatewayKind::Openclaw)] {
        let _ = discovery::choose(&parts, wanted, " on desktop");
    }
});
