//! Any text is a config or a list of problems, read as ours and as the far side's OpenClaw config.
#![no_main]

use std::io::Write as _;
use std::path::Path;

use clawline::config::paths::Environment;
use clawline::config::{LoadRequest, Program, load, parse_openclaw};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = parse_openclaw(text, Path::new("openclaw.json"));
    let mut file = tempfile::Builder::new()
        .suffix(".json5")
        .tempfile()
        .expect("a temporary file");
    file.write_all(text.as_bytes()).expect("written");
    let home = file.path().parent().expect("a directory");
    let request = LoadRequest {
        file: Some(file.path().to_owned()),
        profile: None,
        program: Program::Gateway,
        flags: Vec::new(),
    };
    let _ = load(&Environment::below(home), &request);
});
