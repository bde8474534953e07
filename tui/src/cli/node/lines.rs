//! The lines of `clawline node run`: how its connection stands, and what was asked of it.

use clawline::layer::{Layer, LayerError, printable};
use clawline::tunnel::status::TunnelStatus;
use serde_json::Value;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::tunnel_only::lines::{millis, say, trouble};
use crate::cli::tunnel_only::told::Told;
use crate::link::LinkView;
use crate::node_host::{Desk, News};

/// Prints a line a change.
pub(super) struct Teller<'a> {
    context: &'a Context,
    label: &'a str,
    /// The node's id.
    node: &'a str,
    desk: &'a Desk,
    told: Told,
    was_up: bool,
}

impl<'a> Teller<'a> {
    pub(super) fn new(context: &'a Context, label: &'a str, node: &'a str, desk: &'a Desk) -> Self {
        Self {
            context,
            label,
            node,
            desk,
            told: Told::default(),
            was_up: false,
        }
    }

    /// Tells how the connection stands, where that is news; returns why trying again cannot help, where
    /// it cannot.
    pub(super) fn view(&mut self, now: &LinkView) -> Option<Failure> {
        match &now.status {
            TunnelStatus::Up { .. } => {
                if self.told.is_news("up", &now.generation.to_string()) {
                    self.was_up = true;
                    self.up(now);
                }
            }
            status @ (TunnelStatus::Connecting { .. } | TunnelStatus::Waiting { .. }) => {
                self.told.trying(self.context, self.label, status);
            }
            TunnelStatus::Attention { why } if why.layer == Layer::Pairing => {
                let request = now.pairing_request.as_deref().unwrap_or_default();
                if self.told.is_news("pairing", request) {
                    let mut members = vec![("request", Value::from(printable(request, 80)))];
                    members.extend(trouble(why));
                    members.push(("node", self.node.into()));
                    self.say("pairing", &members);
                }
            }
            // It worked before: somebody may be at it, and a look costs nothing.
            TunnelStatus::Attention { why } if self.was_up => {
                if self.told.is_news("attention", &why.what) {
                    self.say("attention", &trouble(why));
                }
            }
            TunnelStatus::Attention { why } | TunnelStatus::Failed { why } => {
                return Some(Failure::Layer(why.clone()));
            }
            TunnelStatus::Stopped | TunnelStatus::Paused => return Some(stopped()),
        }
        None
    }

    fn up(&self, now: &LinkView) {
        let protocol = now.protocol().map(|protocol| protocol.number());
        let gateway = printable(now.gateway_version().unwrap_or("?"), 80);
        self.say(
            "up",
            &[
                ("gateway", gateway.into()),
                ("protocol", protocol.into()),
                ("node", self.node.into()),
                ("commands", self.desk.commands().join(",").into()),
            ],
        );
    }

    /// Tells what the node was asked, and whether it may be.
    pub(super) fn news(&self, news: &News) {
        match news {
            News::Approved => self.say("approved", &[]),
            News::Unapproved { request } => {
                let next = match request {
                    Some(request) => format!("clawline nodes approve {request}"),
                    None => "clawline nodes pending".to_owned(),
                };
                let mut members: Vec<(&str, Value)> = Vec::new();
                members.extend(
                    request
                        .as_deref()
                        .map(|request| ("request", request.into())),
                );
                members.push((
                    "why",
                    "somebody has to approve what this node can be asked".into(),
                ));
                members.push(("next", next.into()));
                self.say("unapproved", &members);
            }
            News::Done {
                command,
                detail,
                refused,
                unsent,
                took,
            } => {
                let mut members: Vec<(&str, Value)> = vec![("command", command.as_str().into())];
                if !detail.is_empty() {
                    members.push(("program", detail.as_str().into()));
                }
                if !refused.is_empty() {
                    members.push(("refused", refused.as_str().into()));
                }
                if !unsent.is_empty() {
                    members.push(("unsent", unsent.as_str().into()));
                }
                members.push(("ms", millis(*took)));
                self.say("asked", &members);
            }
        }
    }

    fn say(&self, state: &str, members: &[(&str, Value)]) {
        say(self.context, self.label, state, members);
    }
}

/// The connection is gone and does not come back.
pub(super) fn stopped() -> Failure {
    Failure::Layer(LayerError::new(
        Layer::Websocket,
        "the connection was closed",
    ))
}
