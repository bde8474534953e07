//! Any text is a target or an error, and what is shown of a target reads back as the same one. The same
//! holds for the ends of a forward.
#![no_main]

use clawline::tunnel::ends::{ListenSpec, parse_remote_end, parse_socks_end};
use clawline::tunnel::target::{SshTarget, Target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(Target::Ssh(target)) = text.parse::<Target>() {
        assert!(!target.host.is_empty() && !target.host.starts_with('-'));
        assert_eq!(target.to_string().parse::<SshTarget>(), Ok(target));
    }
    if let Ok(end) = parse_remote_end(text) {
        assert_eq!(parse_remote_end(&end.to_string()), Ok(end));
    }
    if let Ok(spec) = text.parse::<ListenSpec>() {
        assert!(spec.remote.is_none() || !spec.socks);
        assert_eq!(spec.local.to_string().parse::<ListenSpec>().map(|again| again.local), Ok(spec.local));
    }
    let _ = parse_socks_end(text);
});
