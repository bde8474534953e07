//! Figures that a run measured, one line each, in a form that `.ci/soak` collects.

/// Prints `figure NAME: VALUE`; seen with `--nocapture`.
pub fn figure(name: &str, value: impl std::fmt::Display) {
    eprintln!("figure {name}: {value}");
}

/// The middle and the worst of many durations, as `p50 12 ms, worst 40 ms`.
pub fn spread(mut all: Vec<std::time::Duration>) -> String {
    all.sort_unstable();
    let middle = all.get(all.len() / 2).copied().unwrap_or_default();
    let worst = all.last().copied().unwrap_or_default();
    format!(
        "p50 {} ms, worst {} ms of {}",
        middle.as_millis(),
        worst.as_millis(),
        all.len()
    )
}
