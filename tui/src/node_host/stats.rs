//! Load, memory and disk of this machine, for `node.host.stats`.

use std::fs;
use std::thread::available_parallelism;

use clawline::protocol::methods::node_host::HostStats;

/// What this machine says now; `None` where it does not tell.
pub(super) fn read() -> Option<HostStats> {
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    let disk = nix::sys::statvfs::statvfs("/").ok()?;
    let block = disk.fragment_size();
    Some(HostStats {
        cpu_count: available_parallelism().map_or(1, |count| count.get() as u64),
        load_average: load_average(&load)?,
        memory_total_bytes: kibibytes(&memory, "MemTotal:")?,
        memory_free_bytes: kibibytes(&memory, "MemAvailable:")?,
        disk_total_bytes: disk.blocks() * block,
        disk_available_bytes: disk.blocks_available() * block,
    })
}

fn load_average(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next()?])
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number * 1024)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_processors_memory_and_a_disk() {
        let stats = read().unwrap();
        assert!(stats.cpu_count > 0 && stats.disk_total_bytes > 0);
        assert!(stats.memory_total_bytes > stats.memory_free_bytes);
        assert!(stats.load_average.iter().all(|load| *load >= 0.0));
    }

    #[test]
    fn text_of_another_shape_is_no_number() {
        assert_eq!(load_average("0.1 x"), None);
        assert_eq!(kibibytes("MemTotal: 5 pages", "MemTotal:"), None);
    }
}
