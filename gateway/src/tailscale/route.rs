//! What `tailscale serve status --json` says about the root of this machine's name.

use serde_json::Value;

/// Where requests for the root go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// The machine's name.
    pub(super) host: String,
    /// A URL, a path or a text.
    pub(super) target: String,
}

impl Route {
    /// Whether it leads to this port of this machine.
    pub(super) fn leads_to(&self, port: u16) -> bool {
        ["127.0.0.1", "localhost"]
            .iter()
            .any(|host| self.target.trim_end_matches('/') == format!("http://{host}:{port}"))
    }
}

/// The route at the root of port 443, also of a program that serves in front; `Some(None)` when there is none,
/// `None` when the text is no JSON object. An empty text is what a machine says that serves nothing.
pub(super) fn root(text: &[u8]) -> Option<Option<Route>> {
    if text.trim_ascii().is_empty() || text.trim_ascii() == b"null" {
        return Some(None);
    }
    let all: Value = serde_json::from_slice(text).ok().filter(Value::is_object)?;
    let in_front = all["Foreground"].as_object().into_iter().flatten();
    let configs = [&all].into_iter().chain(in_front.map(|(_, config)| config));
    Some(configs.filter_map(root_of).next())
}

fn root_of(config: &Value) -> Option<Route> {
    let (name, site) = config["Web"]
        .as_object()?
        .iter()
        .find(|(name, _)| name.ends_with(":443"))?;
    let handler = &site["Handlers"]["/"];
    let target = ["Proxy", "Path", "Text"]
        .iter()
        .find_map(|kind| handler[*kind].as_str())?;
    Some(Route {
        host: name.trim_end_matches(":443").to_owned(),
        target: target.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_found_wherever_it_stands_and_only_the_root() {
        let web = |path: &str, port: u16| {
            format!(
                r#"{{"TCP":{{"443":{{"HTTPS":true}}}},"Web":{{"box.ts.net:443":{{"Handlers":{{"{path}":{{"Proxy":"http://127.0.0.1:{port}"}}}}}}}}}}"#
            )
        };
        let route = root(web("/", 4000).as_bytes()).unwrap().unwrap();
        assert!(route.leads_to(4000) && !route.leads_to(400) && route.host == "box.ts.net");
        let front = format!(r#"{{"Foreground":{{"session":{}}}}}"#, web("/", 4001));
        assert!(root(front.as_bytes()).unwrap().unwrap().leads_to(4001));
        for none in ["", "null", "{}", &web("/other", 4000)] {
            assert_eq!(root(none.as_bytes()), Some(None), "{none}");
        }
        assert_eq!(root(b"no JSON"), None);
        let elsewhere = Route {
            host: "x".into(),
            target: "http://10.0.0.1:4000".into(),
        };
        assert!(!elsewhere.leads_to(4000));
    }
}
