//! Health of the gateway: small under the sessions, or as a page.

pub(crate) mod state;
pub(crate) mod view;
