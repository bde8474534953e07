//! What the commands that let others in say: where a code or an address goes, and where it is of no use.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::support::program::{Daemon, program, said};
use crate::support::{Client, Connect, Device};

#[tokio::test]
async fn a_setup_code_says_how_long_it_lives_and_who_takes_it() {
    let home = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(home.path()).await;
    for (args, taker) in [
        (&["token", "--setup"][..], "setup codes paste oc-pair://"),
        (
            &["token", "--setup", "--node"],
            "openclaw connect oc-pair://",
        ),
    ] {
        let (exit, text) = said(program(home.path(), args)).await;
        assert_eq!(exit, 0, "{text}");
        let code = text.lines().next().unwrap();
        for words in [
            "for one device, for 10 minutes",
            taker,
            "takes no code",
            "from this machine only",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let link = text.split_whitespace().find_map(|word| {
            let packed = word.strip_prefix("oc-pair://")?;
            URL_SAFE_NO_PAD.decode(packed).ok()
        });
        let link: Value = serde_json::from_slice(&link.unwrap()).unwrap();
        let url = format!("ws://127.0.0.1:{}", daemon.notice.port);
        assert_eq!(
            (&link["url"], &link["bootstrapToken"]),
            (&url.into(), &code.into())
        );
        assert!(link["expiresAtMs"].is_i64(), "{link}");
        if !args.contains(&"--node") {
            let phone = Connect::cli(4, "", &["operator.read"])
                .set("/auth/bootstrapToken", link["bootstrapToken"].clone())
                .with_device(Device::new(1));
            Client::connect(daemon.address(), &phone).await;
        }
    }
}

#[tokio::test]
async fn an_address_on_loopback_says_that_it_is_of_no_use_elsewhere() {
    let home = tempfile::tempdir().unwrap();
    let qr = async || said(program(home.path(), &["token", "--qr"])).await;
    let (exit, text) = qr().await;
    assert_eq!(exit, 0, "{text}");
    assert!(text.contains("ws://127.0.0.1:18789"), "{text}");
    for words in ["from this machine only", "clawline USER@HOST", "\"lan\""] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let serve = r#"{gateway: {tailscale: {mode: "serve"}}}"#;
    Daemon::configure(home.path(), serve);
    let (_, text) = qr().await;
    assert!(text.contains("wss://NAME.ts.net"), "{text}");

    let lan = r#"{gateway: {bind: "custom", customBindHost: "192.0.2.7", auth: {token: "0123456789abcdef0123456789abcdef"}}}"#;
    Daemon::configure(home.path(), lan);
    let (exit, text) = qr().await;
    assert_eq!(exit, 0, "{text}");
    assert!(text.contains("ws://192.0.2.7:18789"), "{text}");
    assert!(!text.contains("from this machine only"), "{text}");
}
