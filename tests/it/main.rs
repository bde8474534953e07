//! Both halves together: one test binary, one module a subject.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its world has failed"
)]

mod support;
mod tunnel;
