//! Facts about a process of this machine, as the kernel tells them (`/proc`, so Linux alone).

use clawline::layer::printable;

/// Longest command line that is shown.
const MAX_COMMAND: usize = 160;

/// When a process started, in the kernel's own ticks. Process ids are given out again; id and start
/// together name one process of this boot.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    // The 22nd field; the second is the program's name in brackets and may hold anything.
    field(pid, 22)?.parse().ok()
}

/// The id of the parent.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    field(pid, 4)?.parse().ok()
}

/// True while the process with this id and start is there. Where the kernel does not tell, it counts
/// as there.
pub(crate) fn is_running(pid: u32, start: Option<u64>) -> bool {
    match start {
        Some(start) => start_time(pid) == Some(start),
        None => true,
    }
}

/// The command line, safe to show.
pub(crate) fn command_line(pid: u32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
    let text = text.trim();
    let mut shown = printable(text, MAX_COMMAND);
    if text.chars().count() > MAX_COMMAND {
        shown.push('…');
    }
    (!shown.is_empty()).then_some(shown)
}

fn field(pid: u32, number: usize) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = text.rsplit_once(')')?;
    let field = after_name.split_ascii_whitespace().nth(number - 3)?;
    Some(field.to_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_id_and_start_together() {
        let pid = std::process::id();
        let start = start_time(pid);
        assert!(start.is_some());
        assert!(is_running(pid, start));
        assert!(!is_running(pid, start.map(|start| start + 1)));
        assert_eq!(parent(pid), Some(std::os::unix::process::parent_id()));
        let program = std::env::args().next().unwrap();
        let shown: String = program.chars().take(MAX_COMMAND).collect();
        assert!(command_line(pid).is_some_and(|text| text.starts_with(&shown)));
    }
}
