//! A process of its own for a test that measures memory: the other tests run beside it otherwise.

use std::process::Command;

/// Set in the process that runs one test alone.
const ALONE: &str = "CLAWLINE_TEST_ALONE";

/// True in a process that runs this one test. Elsewhere starts such a process, waits for it, and fails as
/// it fails.
pub fn alone(name: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{said}");
    assert!(told.contains("1 passed"), "there is no test {name}: {told}");
    eprintln!("{}", said.trim());
    false
}

/// Memory of this process that is in use, in kB.
pub fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}
