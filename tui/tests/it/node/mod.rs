//! `clawline node run` against a gateway that follows a script.

mod gateway;
mod running;
mod safety;
