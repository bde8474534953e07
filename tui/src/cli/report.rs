//! The JSON shape of every connecting command, and the rows of the layers as text.

use clawline::layer::{Layer, LayerRows, RowState, printable};
use serde_json::{Map, Value, json};

use super::failure::Failure;

/// What a connecting command found.
pub(crate) struct Report<'a> {
    pub target: &'a str,
    pub rows: &'a LayerRows,
    pub notes: &'a [String],
    pub failure: Option<&'a Failure>,
    /// Exit code when there is no failure.
    pub exit: u8,
    /// Members of the command's own.
    pub more: Map<String, Value>,
}

impl Report<'_> {
    /// `{v:1, target, ok, layer, exit, peerText, next, rows, notes, …}`.
    pub fn to_json(&self) -> Value {
        let exit = self.failure.map_or(self.exit, Failure::exit_code);
        let mut object = json!({
            "v": 1,
            "target": self.target,
            "ok": exit == 0,
            "layer": self.failure.and_then(Failure::layer).map(|error| error.layer),
            "exit": exit,
            "peerText": self.failure.map_or("", Failure::peer_text),
            "next": self.failure.map_or("", Failure::next),
            "rows": self.rows,
            "notes": self.notes,
        });
        if let Some(object) = object.as_object_mut() {
            if let Some(failure) = self.failure {
                object.insert("error".into(), failure.to_string().into());
            }
            object.extend(self.more.clone());
        }
        object
    }
}

/// The rows for people, one a line; skipped ones are left out.
pub(crate) fn row_lines(rows: &LayerRows) -> Vec<String> {
    let shown = rows
        .rows()
        .iter()
        .filter(|row| row.state != RowState::Skipped);
    shown
        .map(|row| {
            let mark = match row.state {
                RowState::Ok => "ok  ",
                RowState::Failed => "FAIL",
                RowState::Busy => "... ",
                RowState::Waiting | RowState::Skipped => "-   ",
            };
            let ms = row.ms.map_or(String::new(), |ms| format!("  {ms} ms"));
            let detail = printable(&row.detail, 200);
            format!(" {mark} {:<10} {detail}{ms}", name(row.layer))
                .trim_end()
                .to_owned()
        })
        .collect()
}

fn name(layer: Layer) -> &'static str {
    match layer {
        Layer::Dns => "name",
        Layer::Tcp => "tcp",
        Layer::Ssh => "ssh",
        Layer::HostKey => "host key",
        Layer::SignIn => "sign-in",
        Layer::Forward => "forward",
        Layer::Port => "port",
        Layer::Websocket => "websocket",
        Layer::Hello => "hello",
        Layer::Token => "token",
        Layer::Pairing => "pairing",
    }
}

#[cfg(test)]
mod tests {
    use clawline::layer::LayerError;

    use super::*;

    #[test]
    fn the_json_has_the_promised_members() {
        let mut rows = LayerRows::default();
        let error = LayerError::new(Layer::HostKey, "changed")
            .peer("words")
            .next("remove line 3");
        rows.fail(&error);
        let failure = Failure::Layer(error);
        let json = Report {
            target: "home",
            rows: &rows,
            notes: &[],
            failure: Some(&failure),
            exit: 0,
            more: Map::new(),
        }
        .to_json();
        assert_eq!(json["v"], 1);
        assert_eq!(json["layer"], "hostkey");
        assert_eq!((&json["ok"], &json["exit"]), (&json!(false), &json!(4)));
        assert_eq!(json["peerText"], "words");
        assert_eq!(json["next"], "remove line 3");
        assert_eq!(json["rows"].as_array().map(Vec::len), Some(11));
    }
}
