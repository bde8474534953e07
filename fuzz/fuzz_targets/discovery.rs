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
    for profile in [None, Some("dev")] {
        let Some(parts) = discovery::split(text, profile) else {
            return;
        };
        for kind in [None, Some(GatewayKind::Clawline), Some(GatewayKind::Openclaw)] {
            let wanted = discovery::Wanted { kind, profile };
            let found = discovery::choose(&parts, wanted, " on desktop");
            // A profile is ours: OpenClaw's gateway never stands for one unless it was asked for.
            let is_theirs = found.kind == Some(GatewayKind::Openclaw);
            assert!(profile.is_none() || !is_theirs || kind == found.kind);
        }
    }
});
