//! Tests that need a peer on "another machine" run in a network of their own: a namespace whose loopback
//! device has one more address. Connections to it come from it, and no rule takes it for loopback.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

/// The address of the other machine, and of this one as it sees it.
pub const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
/// Set inside.
const INSIDE: &str = "CLAWLINE_TEST_INSIDE";
/// Makes the network, then becomes the test program again.
const ENTER: &str = r#"ip link set lo up && ip address add 198.51.100.1/32 dev lo && exec "$@""#;

/// Runs the test of this name again, inside. True when this is that run: the test goes on. Where the system
/// gives no namespaces the test says so and passes.
#[expect(
    clippy::print_stderr,
    reason = "a test that could not run must not look as if it had"
)]
pub fn is_inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let can = Command::new("unshare")
        .args(["-Urn", "ip", "link"])
        .output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no network namespace can be made here");
        return false;
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["-Urn", "sh", "-c", ENTER, "sh"])
        .arg(program)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
    false
}
