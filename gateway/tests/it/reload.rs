//! The configuration changes while the daemon runs: what takes effect, what waits, what is refused.

use clawline::protocol::limits::close;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::program::{DEADLINE, Daemon, program, said, wait_for};
use crate::support::{Client, Connect, Device};

async fn health(client: &mut Client) -> Value {
    client.ok("health", json!({})).await
}

async fn reload_is(client: &mut Client, fits: impl Fn(&Value) -> bool) -> Value {
    wait_for("the configuration to be read", async || {
        let reload = health(client).await["config"].clone();
        fits(&reload).then_some(reload)
    })
    .await
}

#[tokio::test]
async fn a_changed_file_takes_effect_a_broken_one_never_does_and_the_rest_waits_for_a_restart() {
    let home = tempfile::tempdir().unwrap();
    Daemon::configure(home.path(), "{}");
    let daemon = Daemon::start(home.path()).await;
    let connect = Connect::cli(4, &daemon.token(), &["operator.admin"]);
    let (mut client, hello) = Client::connect(daemon.address(), &connect).await;
    assert_eq!(hello["snapshot"]["health"]["defaultAgentId"], "main");
    reload_is(&mut client, |reload| !reload["at"].is_null()).await;

    Daemon::configure(home.path(), "{agents: {list: [{id: 'ada'}]}}");
    let agents = wait_for("the agent", async || {
        let health = health(&mut client).await;
        (health["defaultAgentId"] == "ada").then_some(health)
    });
    assert_eq!(agents.await["agents"][0]["agentId"], "ada");

    let broken = "{agents: {list: [{id: 'bob'}]},\n gateway: {prot: 1, }";
    Daemon::configure(home.path(), broken);
    let reload = reload_is(&mut client, |reload| reload["ok"] == false).await;
    let problem = reload["problems"][0].as_str().unwrap();
    assert!(problem.contains("clawline.json5:"), "{problem}");
    assert_eq!(health(&mut client).await["defaultAgentId"], "ada");
    client.event("health").await;
    let (code, text) = said(program(home.path(), &["status"])).await;
    assert!(text.contains("the config file cannot be used"), "{text}");
    assert!(text.contains("clawline.json5:"), "{text}");
    assert_eq!(code, 0, "{text}");
    daemon.logs("the one before stays in force").await;

    Daemon::configure(
        home.path(),
        "{agents: {list: [{id: 'bob'}]}, gateway: {tailscale: {resetOnExit: true}}}",
    );
    let reload = reload_is(&mut client, |reload| {
        reload["ok"] == true && reload["needsRestart"] != json!([])
    });
    assert_eq!(
        reload.await["needsRestart"],
        json!(["gateway.tailscale.resetOnExit"])
    );
    assert_eq!(health(&mut client).await["defaultAgentId"], "bob");
    let (code, text) = said(program(home.path(), &["status"])).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("gateway.tailscale.resetOnExit"), "{text}");

    // Taken back, there is nothing to restart for.
    Daemon::configure(home.path(), "{agents: {list: [{id: 'bob'}]}}");
    reload_is(&mut client, |reload| reload["needsRestart"] == json!([])).await;
}

#[tokio::test]
async fn a_mode_that_waits_for_a_restart_leaves_the_token_in_force_that_belongs_to_the_old_one() {
    let home = tempfile::tempdir().unwrap();
    let token = "a-token-of-this-test-alone";
    let with_token = format!("{{gateway: {{auth: {{token: '{token}'}}}}}}");
    Daemon::configure(home.path(), &with_token);
    let daemon = Daemon::start(home.path()).await;
    let connect = Connect::cli(4, token, &["operator.admin"]);
    let (mut client, _) = Client::connect(daemon.address(), &connect).await;
    Daemon::configure(home.path(), "{gateway: {auth: {mode: 'none'}}}");
    let reload = reload_is(&mut client, |reload| reload["needsRestart"] != json!([])).await;
    let waits = reload["needsRestart"].to_string();
    for key in ["gateway.auth.mode", "gateway.auth.token"] {
        assert!(waits.contains(key), "{waits}");
    }
    Client::connect(daemon.address(), &connect).await;
    let nothing = Connect::cli(4, "", &["operator.admin"]).without("/auth");
    let (error, ..) = Client::refused(daemon.address(), &nothing).await;
    assert_eq!(error["details"]["code"], "DEVICE_IDENTITY_REQUIRED");
    // Taken back, nothing waits, and nobody was sent away.
    Daemon::configure(home.path(), &with_token);
    reload_is(&mut client, |reload| reload["needsRestart"] == json!([])).await;
}

#[tokio::test]
async fn with_reload_off_only_sighup_reads_the_file() {
    let home = tempfile::tempdir().unwrap();
    Daemon::configure(home.path(), "{gateway: {reload: {mode: 'off'}}}");
    let daemon = Daemon::start(home.path()).await;
    let connect = Connect::cli(4, &daemon.token(), &["operator.admin"]);
    let (mut client, _) = Client::connect(daemon.address(), &connect).await;
    let text = "{gateway: {reload: {mode: 'off'}, allowedHosts: ['gw.example']}}";
    Daemon::configure(home.path(), text);
    let status = health(&mut client).await["configReload"].clone();
    assert_eq!(status["hotReloadStatus"], "disabled");
    daemon.signal(Signal::SIGHUP);
    wait_for("the new host name", async || {
        let config = client.ok("config.get", json!({})).await;
        (config["config"]["gateway"]["allowedHosts"] == json!(["gw.example"])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_new_token_is_asked_for_at_once_and_who_came_in_by_the_old_one_is_sent_away() {
    let home = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(home.path()).await;
    let old = daemon.token();
    let connect = Connect::cli(4, &old, &["operator.admin"]).with_device(Device::new(1));
    let (mut by_token, hello) = Client::connect(daemon.address(), &connect).await;
    let device_token = hello["auth"]["deviceToken"].as_str().unwrap();
    let connect = Connect::cli(4, device_token, &["operator.admin"]).with_device(Device::new(1));
    let (mut by_device, _) = Client::connect(daemon.address(), &connect).await;

    let file = daemon.notice.token_file.clone().unwrap();
    let fresh = "a-new-token-that-nobody-knows-yet";
    clawline::owner_file::replace(&file, &clawline::secret::Secret::new(fresh)).unwrap();
    let (code, reason) = by_token.closed().await;
    assert_eq!(
        (code, reason.as_str()),
        (close::AUTH_CHANGED, "gateway auth changed")
    );
    by_device.ok("health", json!({})).await;
    let connect = Connect::cli(4, &old, &["operator.admin"]);
    let (error, _, _) = Client::refused(daemon.address(), &connect).await;
    assert_eq!(error["details"]["code"], "AUTH_TOKEN_MISMATCH", "{error}");
    let connect = Connect::cli(4, fresh, &["operator.admin"]);
    Client::connect(daemon.address(), &connect).await;
    assert!(!daemon.log().contains(fresh) && !daemon.log().contains(&old));

    // Others could have read this one: it does not come into force.
    std::fs::write(&file, "readable").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&file, mode).unwrap();
    let reload = reload_is(&mut by_device, |reload| reload["ok"] == false).await;
    let problem = reload["problems"][0].as_str().unwrap();
    assert!(problem.contains("chmod 600"), "{problem}");
    Client::connect(daemon.address(), &connect).await;
}

#[tokio::test]
async fn a_proxy_that_is_taken_off_the_list_takes_its_users_along() {
    let home = tempfile::tempdir().unwrap();
    let behind = |proxies: &str| {
        let text = format!(
            "{{gateway: {{trustedProxies: [{proxies}], auth: {{mode: 'trusted-proxy', trustedProxy: {{
                userHeader: 'x-user', allowLoopback: true, secretHeader: 'x-proof',
                secret: 'what-this-proxy-alone-knows'}}}}}}}}"
        );
        Daemon::configure(home.path(), &text);
    };
    behind("'127.0.0.1', '10.0.0.1'");
    let daemon = Daemon::start(home.path()).await;
    let headers = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-user", "ana"),
        ("x-proof", "what-this-proxy-alone-knows"),
    ];
    let connect = Connect::cli(4, "", &[]).without("/auth");
    let opened = Client::try_open(daemon.address(), &headers).await;
    let mut client = opened.unwrap_or_else(|refused| panic!("{refused:?}"));
    let answer = client.greet(&connect).await;
    assert_eq!(
        answer["payload"]["auth"]["method"], "trusted-proxy",
        "{answer}"
    );
    // One more sends nobody away.
    behind("'10.0.0.2', '127.0.0.1', '10.0.0.1'");
    daemon.logs("the new configuration is in force").await;
    health(&mut client).await;
    behind("'10.0.0.1'");
    let (code, reason) = client.closed().await;
    assert_eq!(
        (code, reason.as_str()),
        (close::AUTH_CHANGED, "gateway auth changed")
    );
    assert!(Client::try_open(daemon.address(), &headers).await.is_err());
}

#[tokio::test]
async fn files_that_nobody_will_ever_write_hold_up_neither_answers_nor_the_stop() {
    let home = tempfile::tempdir().unwrap();
    Daemon::configure(home.path(), "{}");
    let mut daemon = Daemon::start(home.path()).await;
    let connect = Connect::cli(4, &daemon.token(), &["operator.admin"]);
    let (mut client, _) = Client::connect(daemon.address(), &connect).await;
    let token = daemon.notice.token_file.clone().unwrap();
    for file in [home.path().join(".config/clawline/clawline.json5"), token] {
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        std::fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, mode).unwrap();
    }
    daemon.signal(Signal::SIGHUP);
    let reload = reload_is(&mut client, |reload| reload["ok"] == false).await;
    let problems = reload["problems"].to_string();
    assert!(problems.contains("regular file"), "{problems}");
    let config = client.ok("config.get", json!({})).await;
    assert_eq!(config["valid"], false, "{config}");
    Daemon::configure(home.path(), "{}");
    reload_is(&mut client, |reload| {
        reload["problems"].to_string().contains("token")
    })
    .await;
    let (code, text) = said(program(home.path(), &["token"])).await;
    assert!(code != 0 && text.contains("regular file"), "{code} {text}");
    daemon.signal(Signal::SIGTERM);
    let ended = tokio::time::timeout(DEADLINE, daemon.child.wait()).await;
    assert!(ended.expect("it ends by itself").unwrap().success());
}
