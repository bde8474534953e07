//! Commands on the gateway's own machine, in the situations in which somebody needs them.

use std::fs::File;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::program::{DEADLINE, Daemon, program, said, wait_for};

const BROKEN: &str = "{gateway: {bind: 'nonsense'}}";

#[tokio::test]
async fn an_answer_that_nobody_reads_to_its_end_is_no_failure_and_one_that_is_lost_is() {
    let home = tempfile::tempdir().unwrap();
    let args = ["config", "show", "--sources"];
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut unread = program(home.path(), &args);
    unread.stdout(Stdio::from(writer));
    let (code, text) = said_with(unread).await;
    assert_eq!((code, text.as_str()), (0, ""));
    let mut full = program(home.path(), &args);
    full.stdout(Stdio::from(
        File::options().write(true).open("/dev/full").unwrap(),
    ));
    let (code, text) = said_with(full).await;
    assert_eq!(code, 1);
    assert_eq!(text.matches("cannot be written").count(), 1, "{text}");
}

/// Exit code and standard error; standard output goes where it was sent.
async fn said_with(mut command: tokio::process::Command) -> (i32, String) {
    let child = command.spawn().unwrap();
    let ended = tokio::time::timeout(DEADLINE, child.wait_with_output());
    let output = ended.await.unwrap().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), text)
}

#[tokio::test]
async fn what_runs_can_be_managed_and_ended_while_its_config_file_is_broken() {
    let home = tempfile::tempdir().unwrap();
    let said = async |args: &[&str]| said(program(home.path(), args)).await;
    let mut daemon = Daemon::start(home.path()).await;
    Daemon::configure(home.path(), BROKEN);
    for args in [["devices", "list"], ["nodes", "list"]] {
        let (code, text) = said(&args).await;
        assert_eq!(code, 0, "{args:?}: {text}");
    }
    let (code, text) = said(&["restart"]).await;
    assert_eq!(code, 2, "the mistake is told before anything ends: {text}");
    assert!(daemon.child.try_wait().unwrap().is_none());
    let stop = said(&["stop"]);
    let (stopped, ended) = tokio::join!(stop, daemon.child.wait());
    assert_eq!(stopped.0, 0, "{}", stopped.1);
    assert_eq!(ended.unwrap().code(), Some(0));
    let (code, text) = said(&["start"]).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("gateway.bind"), "{text}");
}

#[tokio::test]
async fn a_running_gateway_is_told_of_with_the_port_that_it_has() {
    let home = tempfile::tempdir().unwrap();
    let run = program(home.path(), &["run", "--port", "0", "--profile", "z"]);
    let daemon = Daemon::started(home.path(), run).await;
    let port = daemon.notice.port;
    let (code, text) = said(program(home.path(), &["token", "--json", "--profile", "z"])).await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 0);
    assert_eq!(told["url"], format!("ws://127.0.0.1:{port}"));
    let (_, text) = said(program(
        home.path(),
        &["doctor", "--json", "--profile", "z"],
    ))
    .await;
    let told: Value = serde_json::from_str(&text).unwrap();
    let rows = told["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["id"] == "port").unwrap();
    let what = row["what"].as_str().unwrap();
    assert!(what.starts_with(&format!("{port}: ")), "{what}");
    assert!(what.contains("18789 is configured"), "{what}");
}

#[tokio::test]
async fn in_the_background_it_says_its_port_and_a_failed_start_says_why_once() {
    let home = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    Daemon::configure(home.path(), &format!("{{gateway: {{port: {port}}}}}"));
    let (code, text) = said(program(home.path(), &["start"])).await;
    assert_eq!(code, 8, "{text}");
    assert_eq!(text.matches("clawline-gateway:").count(), 1, "{text}");
    assert!(text.contains("gateway.port"), "{text}");
    // Somebody else may take a port between its being given back and the start: then another is tried.
    let (port, code, text) = wait_for("a port that nobody takes", async || {
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Daemon::configure(home.path(), &format!("{{gateway: {{port: {port}}}}}"));
        let (code, text) = said(program(home.path(), &["restart"])).await;
        (code != 8).then_some((port, code, text))
    })
    .await;
    drop(taken);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("it did not run"), "{text}");
    assert!(text.contains(&format!("on port {port} ")), "{text}");
    let (code, _) = said(program(home.path(), &["stop"])).await;
    assert_eq!(code, 0);
}

#[tokio::test]
async fn what_the_next_start_would_refuse_is_told_by_config_check_and_doctor() {
    let home = tempfile::tempdir().unwrap();
    let checked = async |config: &str, words: &str| {
        Daemon::configure(home.path(), config);
        let (code, text) = said(program(home.path(), &["config", "check"])).await;
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(words), "{text}");
        let (code, text) = said(program(home.path(), &["doctor"])).await;
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(words), "{text}");
    };
    let tls = "{gateway: {tls: {enabled: true, certPath: '~/own.pem', keyPath: '~/own.key'}}}";
    let path = home.path().join("own.pem");
    checked(tls, path.to_str().unwrap()).await;
    checked("{models: {default: 'local/nope'}}", "local/nope").await;
    let nothing_made = "{gateway: {tls: {enabled: true, autoGenerate: false}}}";
    checked(nothing_made, "gateway.tls.certPath: is missing").await;
    let keyless = "{models: {default: 'p/m', providers: {p: {kind: 'openai',
        baseUrl: 'http://127.0.0.1:1/v1', apiKeyEnv: 'NO_SUCH_KEY', models: ['m']}}}}";
    Daemon::configure(home.path(), keyless);
    let (code, text) = said(program(home.path(), &["config", "check"])).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("NO_SUCH_KEY is not set here"), "{text}");
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_made_is_known_before_the_first_start() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let mut doctor = program(home.path(), &["doctor"]);
    doctor.env("CLAWLINE_STATE_DIR", file.join("state"));
    let (code, text) = said(doctor).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("cannot be made"), "{text}");
}

#[tokio::test]
async fn a_certificate_of_the_users_own_is_shown_and_not_renewed() {
    let home = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(home.path().join("own.pem"), certificate.pem()).unwrap();
    let key_file = home.path().join("own.key");
    clawline::owner_file::create_new(&key_file, &key.serialize_pem().into()).unwrap();
    let tls = "{gateway: {tls: {enabled: true, certPath: '~/own.pem', keyPath: '~/own.key'}}}";
    Daemon::configure(home.path(), tls);
    let (code, shown) = said(program(home.path(), &["tls", "show"])).await;
    assert_eq!(code, 0, "{shown}");
    let (code, text) = said(program(home.path(), &["tls", "renew"])).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("gateway.tls.certPath"), "{text}");
    let daemon = Daemon::start(home.path()).await;
    let served = daemon.notice.tls_fingerprint.clone().unwrap();
    assert!(shown.contains(&served), "{shown}, and served is {served}");
    daemon.signal(Signal::SIGTERM);
    let mut child = daemon.child;
    wait_for("the end", async || child.try_wait().unwrap()).await;
}
