//! Whether the time of a compare tells how much of a guess is right (SECURITY S20): run by hand, on a
//! machine that does nothing else, with `cargo run --release -p clawline-gateway --example compare`.
//!
//! Guesses that are wrong in their first byte and guesses that are wrong in their last one take turns in a
//! random order. Welch's t of the two is near 0 where the time tells nothing; beyond 4.5 it does.
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

use std::hint::black_box;
use std::time::Instant;

use clawline::secret::Secret;
use rand::RngExt as _;

/// Compares of each kind.
const COMPARES: usize = 100_000;
/// So many are timed at once: a clock tells nothing about a few nanoseconds.
const AT_ONCE: usize = 16;
/// The slowest part of each kind is left out: that is what else the machine did.
const KEPT: f64 = 0.95;

/// Mean, variance and number of the times, in nanoseconds.
fn moments(mut times: Vec<f64>) -> (f64, f64, f64) {
    times.sort_by(f64::total_cmp);
    let kept = (times.len() as f64 * KEPT) as usize;
    times.truncate(kept.max(2));
    let count = times.len() as f64;
    let mean = times.iter().sum::<f64>() / count;
    let spread = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>();
    (mean, spread / (count - 1.0), count)
}

fn welch(first: Vec<f64>, last: Vec<f64>) -> (f64, f64, f64) {
    let (a, va, na) = moments(first);
    let (b, vb, nb) = moments(last);
    (a, b, (a - b) / (va / na + vb / nb).sqrt())
}

fn measure(name: &str, is_same: impl Fn(&Secret, &str) -> bool) {
    let text = "kT7q0cYw2nR5vB8xZ1mL4pD6sF9hJ3gQaEuIoWyXcVb";
    let secret = Secret::new(text);
    let wrong = |at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] ^= 1;
        String::from_utf8(bytes).unwrap_or_default()
    };
    let guesses = [wrong(0), wrong(text.len() - 1)];
    let mut times = [Vec::new(), Vec::new()];
    let mut rng = rand::rng();
    while times.iter().any(|times| times.len() < COMPARES) {
        let kind = usize::from(rng.random::<bool>());
        let start = Instant::now();
        for _ in 0..AT_ONCE {
            black_box(is_same(black_box(&secret), black_box(&guesses[kind])));
        }
        let taken = start.elapsed().as_secs_f64() * 1e9 / AT_ONCE as f64;
        times[kind].push(taken);
    }
    let [first, last] = times;
    let (first, last, t) = welch(first, last);
    println!("{name:<34} {first:8.1} ns  {last:8.1} ns  t = {t:7.2}");
}

fn main() {
    println!("wrong in the                        first byte    last byte");
    measure("Secret::matches (what is used)", |secret, shown| {
        secret.matches(shown)
    });
    measure("== on the texts (what is not)", |secret, shown| {
        secret.expose() == shown
    });
}
