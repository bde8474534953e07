//! The methods: one table from name to handler, which does the common work (scope, parameters,
//! order, deadline, reply), so that a handler holds only its own subject.

mod agent;
mod agents;
mod approvals;
mod call;
mod chat;
mod chat_send;
mod config;
mod config_write;
mod delivery;
mod devices;
mod host;
mod lists;
mod log_line;
mod logs;
mod node_host;
mod node_pairing;
mod nodes;
mod session_lookup;
mod session_runs;
mod sessions;
mod slash;
mod system;
mod table;
mod usage;
mod voicewake;
mod write_budget;

use std::sync::Arc;

use clawline::protocol::error::RpcError;
use clawline::protocol::hello::CONNECT;
use clawline::protocol::scope::{Role, Scope};
use clawline::protocol::unread::UnreadRequest;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use crate::conn::{Conn, Push};
use crate::state::App;

pub(crate) use call::{Call, Failure};
pub(crate) use table::{Table, Verdict};
pub(crate) use write_budget::WriteBudget;

/// Every method of this gateway.
pub(crate) fn table() -> Table {
    let areas = [
        system::rows,
        logs::rows,
        sessions::rows,
        session_lookup::rows,
        session_runs::rows,
        chat::rows,
        chat_send::rows,
        agent::rows,
        agents::rows,
        usage::rows,
        config::rows,
        config_write::rows,
        devices::rows,
        nodes::rows,
        node_host::rows,
        node_pairing::rows,
        approvals::rows,
        lists::rows,
        host::rows,
        voicewake::rows,
        delivery::rows,
    ];
    areas
        .into_iter()
        .fold(Table::default(), |table, rows| rows(table))
}

/// Takes a call: it is answered at once or later, on its own task.
pub(crate) fn dispatch(
    app: &App,
    conn: &Arc<Conn>,
    request: UnreadRequest<'_>,
    permit: Option<OwnedSemaphorePermit>,
) -> Verdict {
    if let Some(row) = app.table.get(request.method.as_ref()) {
        return row.start(app, conn, request, permit);
    }
    let principal = &conn.principal;
    let (error, verdict) = if principal.role == Role::Node {
        let error = RpcError::invalid("unauthorized role: node");
        (error, Verdict::WrongRole)
    } else if !principal.scopes.grants(Scope::Admin) {
        // Whoever may not do everything is not told what exists.
        let error = RpcError::missing_scope(Scope::Admin.as_str());
        (error, Verdict::Refused)
    } else if request.method == CONNECT {
        let error = RpcError::invalid("connect is only valid as the first request");
        (error, Verdict::Refused)
    } else {
        let name = clawline::layer::printable(&request.method, 80);
        (RpcError::unknown_method(&name), Verdict::Refused)
    };
    conn.refuse(&request.id, error, Value::Null, permit);
    verdict
}

/// What a connection is sent right after its hello.
pub(crate) fn greeted(app: &App, conn: &Arc<Conn>) {
    if conn.version == clawline::protocol::Protocol::V3 {
        let (app, conn) = (app.clone(), conn.clone());
        app.tasks.clone().spawn(async move {
            let report = app.health_report(&app.whereabouts(&conn.principal)).await;
            let push = Push::latest("health", &report, Some(app.registry.state_version()));
            conn.outbox.push(&push);
        });
    }
    if conn.principal.role == Role::Node {
        let (app, conn) = (app.clone(), conn.clone());
        app.tasks
            .clone()
            .spawn(async move { voicewake::greet(&app, &conn).await });
    }
    if let Some(device_id) = conn.principal.device_id.clone() {
        let (app, role) = (app.clone(), conn.principal.role);
        app.tasks
            .clone()
            .spawn(async move { app.pairing.seen(&device_id, role).await });
    }
}

#[cfg(test)]
mod tests {
    use clawline::protocol::methods;

    #[test]
    fn every_declared_method_is_served_and_nothing_else() {
        let mut declared = methods::names();
        declared.sort_unstable();
        assert_eq!(super::table().names(), declared);
    }
}
