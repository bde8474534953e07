//! `~/.clawline/gateway.json`: where a running daemon says how to reach it, for its user's clients on
//! this machine and, through SSH, on others.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bounded_file;

/// Longest file that is looked at, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// What the file holds. Unknown members are ignored, so that later releases may add some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayNotice {
    /// 1.
    pub version: u32,
    /// The daemon's profile, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Its process.
    pub pid: u32,
    /// Its port on loopback.
    pub port: u16,
    /// The owner-only file with its token; absent where a password or nothing is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The port speaks TLS.
    #[serde(default)]
    pub tls: bool,
    /// The SHA-256 of the certificate that it shows, to be pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_fingerprint: Option<String>,
}

impl GatewayNotice {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// What the file at `path` says; `None` where there is none, or nothing that makes sense.
    pub fn read(path: &Path) -> Option<Self> {
        let text = bounded_file::read_text(path, MAX_FILE).ok()?;
        Self::parse(&text).ok()
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_newer_members_do_no_harm() {
        let notice = GatewayNotice {
            version: 1,
            profile: None,
            pid: 42,
            port: 18789,
            token_file: Some("/home/me/.local/state/clawline-gateway/token".into()),
            tls: false,
            tls_fingerprint: None,
        };
        assert_eq!(GatewayNotice::parse(&notice.to_text()).unwrap(), notice);
        let newer = r#"{"version":2,"pid":1,"port":5,"later":true}"#;
        assert_eq!(GatewayNotice::parse(newer).unwrap().port, 5);
        assert!(GatewayNotice::parse(r#"{"pid":1,"port":70000,"version":1}"#).is_err());
    }
}
