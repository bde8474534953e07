//! The text format of Prometheus.

use std::fmt::Write as _;

use super::Count;

/// Before every name.
const PREFIX: &str = "clawline_gateway_";

/// A page that is being written.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) text: String,
}

impl Page {
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.text, "{PREFIX}{name} {value}");
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, count: &Count) {
        self.head(name, "counter", help);
        let _ = writeln!(self.text, "{PREFIX}{name} {}", count.get());
    }

    /// One line a value of a label.
    pub(super) fn labelled(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (String, u64)>,
    ) {
        self.head(name, kind, help);
        for (of, value) in values {
            let of = escaped(&of);
            let _ = writeln!(self.text, "{PREFIX}{name}{{{label}=\"{of}\"}} {value}");
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {PREFIX}{name} {help}");
        let _ = writeln!(self.text, "# TYPE {PREFIX}{name} {kind}");
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_end_its_line() {
        let mut page = Page::default();
        let odd = "a\"} 1\nevil 2\\".to_owned();
        page.labelled("refused_total", "counter", "Help.", "kind", [(odd, 3)]);
        assert_eq!(
            page.text,
            "# HELP clawline_gateway_refused_total Help.\n\
             # TYPE clawline_gateway_refused_total counter\n\
             clawline_gateway_refused_total{kind=\"a\\\"} 1\\nevil 2\\\\\"} 3\n"
        );
    }
}
