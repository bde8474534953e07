//! What `system.info` tells of the machine: read from `/proc` where there is one.

use std::path::Path;

/// The machine's figures; what cannot be had is 0 or absent.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Machine {
    pub(crate) release: String,
    pub(crate) cpu_count: u64,
    pub(crate) cpu_model: Option<String>,
    pub(crate) load_average: Option<[f64; 3]>,
    pub(crate) memory_total: u64,
    pub(crate) memory_free: u64,
    pub(crate) disk: Option<Disk>,
}

/// The disk below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) total: u64,
    pub(crate) available: u64,
}

impl Machine {
    /// Looks now. Blocks: it reads files that the kernel makes, and asks for the disk, which a
    /// network can be behind.
    pub(crate) fn look(state_dir: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let memory = read("/proc/meminfo");
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            release: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu_count: u64::try_from(cpus).unwrap_or(1),
            cpu_model: cpu_model(&read("/proc/cpuinfo")),
            load_average: load_average(&read("/proc/loadavg")),
            memory_total: kilobytes(&memory, "MemTotal:"),
            memory_free: kilobytes(&memory, "MemAvailable:"),
            disk: disk(state_dir),
        }
    }
}

fn disk(path: &Path) -> Option<Disk> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    #[allow(
        clippy::useless_conversion,
        reason = "the widths of these fields differ between platforms"
    )]
    let (size, all, free) = (
        u64::from(stat.fragment_size()),
        u64::from(stat.blocks()),
        u64::from(stat.blocks_available()),
    );
    Some(Disk {
        total: size.saturating_mul(all),
        available: size.saturating_mul(free),
    })
}

fn kilobytes(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |count| count.saturating_mul(1024))
}

fn cpu_model(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    let name = line.split_once(':')?.1.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

fn load_average(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split_whitespace().map_while(|word| word.parse().ok());
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_files_are_read_and_odd_ones_are_no_harm() {
        let memory = "MemTotal:        8000 kB\nMemFree: 1 kB\nMemAvailable:    4000 kB\n";
        assert_eq!(kilobytes(memory, "MemTotal:"), 8_192_000);
        assert_eq!(kilobytes(memory, "MemAvailable:"), 4_096_000);
        assert_eq!(kilobytes("MemTotal: many", "MemTotal:"), 0);
        assert_eq!(load_average("0.5 1.25 2 1/200 77"), Some([0.5, 1.25, 2.0]));
        assert_eq!(load_average("0.5 x"), None);
        assert_eq!(
            cpu_model("processor : 0\nmodel name\t: A CPU @ 2 GHz\n").as_deref(),
            Some("A CPU @ 2 GHz")
        );
        assert_eq!(cpu_model("model name"), None);
    }

    #[test]
    fn there_is_a_disk_below_every_directory() {
        let disk = Machine::look(Path::new("/")).disk.unwrap();
        assert!(disk.total >= disk.available && disk.total > 0, "{disk:?}");
    }
}
