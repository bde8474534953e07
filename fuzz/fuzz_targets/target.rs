//! Any text is a target or an error, and what is shown of a target reads back as the same one.
#![no_main]

use clawline::tunnel::target::{SshTarget, Target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(Target::Ssh(target)) = text.parse::<Target>() {
        assert!(!target.host.is_empty() && !target.host.starts_with('-'));
        assert_eq!(target.to_string().parse::<SshTarget>(), Ok(target));
    }
});
