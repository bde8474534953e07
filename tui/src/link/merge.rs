//! One status and one table of rows out of the tunnel's and the client's: pure functions.

use clawline::client::ClientView;
use clawline::layer::{Layer, LayerRow, LayerRows, RowState};
use clawline::tunnel::status::{TunnelStatus, TunnelView};

/// Layers that only an SSH connection has.
const SSH_ONLY: [Layer; 4] = [Layer::Ssh, Layer::HostKey, Layer::SignIn, Layer::Forward];

/// The status of the whole way: the tunnel's until it is up, then the client's.
pub(super) fn status(tunnel: Option<&TunnelView>, client: &ClientView) -> TunnelStatus {
    match (tunnel, &client.status) {
        (Some(tunnel), _) if !tunnel.status.is_up() => tunnel.status.clone(),
        // While the client dials through a tunnel that is up, names and addresses are behind it.
        (Some(_), TunnelStatus::Connecting { layer, attempt }) => TunnelStatus::Connecting {
            layer: (*layer).max(Layer::Port),
            attempt: *attempt,
        },
        (_, status) => status.clone(),
    }
}

/// The rows of all layers.
pub(super) fn rows(tunnel: Option<&TunnelView>, client: &ClientView) -> LayerRows {
    let mut rows = client.rows.clone();
    let Some(tunnel) = tunnel else {
        for layer in SSH_ONLY {
            rows.set(layer, RowState::Skipped, None, "");
        }
        return rows;
    };
    for row in tunnel.rows.rows() {
        let is_tunnels = row.layer <= Layer::Forward;
        // A refused channel shows on the port's row of the tunnel before the client says so.
        let is_news = row.state == RowState::Failed && is_waiting(&rows, row.layer);
        if is_tunnels || is_news {
            copy(&mut rows, row);
        }
    }
    if !tunnel.status.is_up() {
        rows.reset_from(Layer::Port);
    }
    rows
}

fn is_waiting(rows: &LayerRows, layer: Layer) -> bool {
    rows.row(layer)
        .is_some_and(|row| matches!(row.state, RowState::Waiting | RowState::Busy))
}

fn copy(rows: &mut LayerRows, row: &LayerRow) {
    let ms = row.ms.map(std::time::Duration::from_millis);
    rows.set(row.layer, row.state, ms, &row.detail);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use clawline::layer::LayerError;

    use super::*;

    fn client(status: TunnelStatus, rows: LayerRows) -> ClientView {
        ClientView {
            status,
            rows,
            hello: None,
            rtt: None,
            generation: 0,
            pairing_request: None,
        }
    }

    fn connecting() -> TunnelStatus {
        TunnelStatus::Connecting {
            layer: Layer::Dns,
            attempt: 1,
        }
    }

    #[test]
    fn a_direct_way_skips_the_layers_of_ssh() {
        let view = client(connecting(), LayerRows::default());
        let rows = rows(None, &view);
        for layer in Layer::ALL {
            let skipped = rows.row(layer).unwrap().state == RowState::Skipped;
            assert_eq!(skipped, SSH_ONLY.contains(&layer), "{layer}");
        }
    }

    #[test]
    fn the_tunnel_speaks_until_it_is_up_and_then_the_client() {
        let mut tunnel = TunnelView {
            status: TunnelStatus::Attention {
                why: LayerError::new(Layer::HostKey, "changed"),
            },
            rows: LayerRows::default(),
            generation: 0,
        };
        tunnel
            .rows
            .fail(&LayerError::new(Layer::HostKey, "changed"));
        let mut stale = LayerRows::default();
        stale.set(Layer::Hello, RowState::Ok, None, "v4");
        let view = client(connecting(), stale);
        assert_eq!(status(Some(&tunnel), &view), tunnel.status);
        let merged = rows(Some(&tunnel), &view);
        assert_eq!(merged.row(Layer::HostKey).unwrap().state, RowState::Failed);
        assert_eq!(merged.row(Layer::Hello).unwrap().state, RowState::Waiting);

        tunnel.status = TunnelStatus::Up {
            since: Instant::now(),
        };
        let merged = status(Some(&tunnel), &view);
        assert!(matches!(
            merged,
            TunnelStatus::Connecting {
                layer: Layer::Port,
                ..
            }
        ));
    }
}
