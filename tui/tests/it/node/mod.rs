//! `clawline node run` against a gateway that follows a script.

mod gateway;
mod operator;
mod person;
mod running;
mod safety;
