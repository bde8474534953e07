//! The gateway daemon as a library: tests start it exactly as `main` does.
