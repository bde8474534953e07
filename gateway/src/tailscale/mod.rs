//! Tailscale, through its own program: the machine's address in the tailnet, publishing the gateway there or
//! to the internet, and who somebody of the tailnet is.

mod exposure;
mod program;
mod route;
mod whois;

pub use exposure::Exposure;
pub(crate) use exposure::{Publisher, publish};
pub(crate) use program::Program;
pub use program::TailscaleError;
pub(crate) use whois::Whois;
