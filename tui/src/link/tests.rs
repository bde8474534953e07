//! The whole way: a laptop, an SSH server and a gateway, each real, on loopback.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::sync::Mutex;
use std::time::Duration;

use clawline::client::ClientEvent;
use clawline::client::dial::Credentials;
use clawline::layer::RowState;
use clawline::loopback_ssh::{ExecReply, LoopbackOptions, fresh_key};
use clawline::protocol::methods::approvals::{
    Decision, ExecApprovalRequest, ExecApprovalRequestParams, ExecApprovalResolve,
    ExecApprovalResolveParams, ExecApprovalRow,
};
use clawline::protocol::methods::system::{Health, HealthParams};
use clawline::tunnel::spec::RemoteEnd;
use clawline_gateway::Gateway;
use clawline_gateway::settings::GatewaySettings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::cli::demo::World;

/// Long enough for a busy machine; what is waited for comes in milliseconds.
const SOON: Duration = Duration::from_secs(60);
/// Time between two tries for a port that is about to be free.
const TRY_AGAIN: Duration = Duration::from_millis(10);

fn token_of(world: &World) -> Secret {
    let path = world
        .home
        .path()
        .join("desktop/.local/state/clawline-gateway/token");
    Secret::new(std::fs::read_to_string(path).unwrap().trim())
}

fn gateway_port(world: &World) -> u16 {
    let path = world.home.path().join("desktop/.clawline/gateway.json");
    let text = std::fs::read_to_string(path).unwrap();
    clawline::notice::GatewayNotice::parse(&text).unwrap().port
}

/// Every file below a directory.
fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let nested = paths.map(|path| {
        if path.is_dir() {
            files(&path)
        } else {
            vec![path]
        }
    });
    nested.flatten().collect()
}

async fn view_where(link: &Link, what: impl FnMut(&LinkView) -> bool) -> LinkView {
    let mut view = link.view();
    let waited = tokio::time::timeout(SOON, view.wait_for(what)).await;
    match waited {
        Ok(Ok(view)) => view.clone(),
        Ok(Err(_)) => panic!("the link ended"),
        Err(_) => panic!("still {:?}", link.view().borrow().clone()),
    }
}

/// Waits for a greeting after the `seen`th. On a busy machine the far side may not say in time where its
/// gateway is, and is then asked again: a failure of the first try is not the end.
async fn greeted_after(link: &Link, seen: u64) -> LinkView {
    view_where(link, |view| view.generation > seen && view.hello.is_some()).await
}

/// Waits until it is down at this layer.
async fn down_at(link: &Link, layer: Layer) -> LayerError {
    let is_it = |view: &LinkView| view.trouble().is_some_and(|why| why.layer == layer);
    let view = view_where(link, is_it).await;
    view.trouble().cloned().unwrap()
}

/// A port that nobody is given who takes any.
fn fixed_port() -> u16 {
    loop {
        let port = 10_000 + u16::try_from(uuid::Uuid::new_v4().as_u128() % 20_000).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_is_found_over_ssh_and_its_token_is_not_written_down() {
    let world = World::start().await.unwrap();
    let link = Link::open(world.request().unwrap(), Prompter::nobody()).unwrap();
    let view = greeted_after(&link, 0).await;
    assert!(view.hello.unwrap().is_capable("clawline-gateway"));
    let reply = link.client().call::<Health>(HealthParams::default()).await;
    assert!(reply.unwrap().ok);

    let view = link.view().borrow().clone();
    for row in view.rows.rows() {
        assert_eq!(row.state, RowState::Ok, "{row:?}");
    }
    let port = gateway_port(&world);
    let note = format!("port {port} and token from ~/.clawline/gateway.json on 127.0.0.1");
    assert_eq!(view.notes, [note]);
    let far_end = RemoteEnd::loopback(port).to_string();
    let address = world.ssh.addr;
    let id = GatewayId::over_ssh(&address.ip().to_string(), address.port(), "me", &far_end);
    assert_eq!(view.gateway_id, id);

    let token = token_of(&world);
    let laptop = files(&world.home.path().join("laptop"));
    assert!(
        laptop.iter().any(|path| path.ends_with("tokens.json")),
        "{laptop:?}"
    );
    for path in laptop {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(token.expose()), "{}", path.display());
    }
    link.stop().await;

    // The next start knows the gateway before anything is asked of the network.
    let offline = first_gateway_id(&world.request().unwrap());
    assert_eq!(offline, id);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_looks_at_the_app_is_asked_about_programs_and_no_subcommand_is() {
    let world = World::start().await.unwrap();
    let subcommand = Link::open(world.request().unwrap(), Prompter::nobody()).unwrap();
    let other = Link::open(world.request().unwrap(), Prompter::nobody()).unwrap();
    for link in [&subcommand, &other] {
        greeted_after(link, 0).await;
    }
    let ask = |id: &str| ExecApprovalRequestParams {
        id: Some(id.to_owned()),
        command: Some("uptime".into()),
        command_argv: Some(vec!["uptime".into()]),
        host: Some("gateway".into()),
        timeout_ms: Some(60_000),
        ..ExecApprovalRequestParams::default()
    };
    let client = subcommand.client();
    let reply = client.call_within::<ExecApprovalRequest>(ask("a"), SOON);
    // Nobody is there to be asked, and that is said at once.
    assert_eq!(reply.await.unwrap().decision, Some(None));

    let app = Link::open_app(world.request().unwrap(), Prompter::nobody()).unwrap();
    let mut events = app.client().events();
    greeted_after(&app, 0).await;
    let asked = tokio::spawn(async move {
        client
            .call_within::<ExecApprovalRequest>(ask("b"), SOON)
            .await
    });
    let shown = tokio::time::timeout(SOON, async {
        loop {
            if let Ok(ClientEvent::Event(event)) = events.recv().await
                && event.event == "exec.approval.requested"
            {
                return serde_json::from_value::<ExecApprovalRow>(event.payload.clone()).unwrap();
            }
        }
    });
    let shown = shown.await.unwrap();
    assert_eq!(
        (shown.id.as_str(), &shown.request["command"]),
        ("b", &serde_json::json!("uptime"))
    );
    let params = ExecApprovalResolveParams {
        id: shown.id,
        decision: Decision::AllowOnce.as_str().to_owned(),
    };
    app.client()
        .call::<ExecApprovalResolve>(params)
        .await
        .unwrap();
    let decision = asked.await.unwrap().unwrap().decision;
    assert_eq!(decision, Some(Some(Decision::AllowOnce)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_ssh_connection_comes_back_by_itself() {
    let world = World::start().await.unwrap();
    let link = Link::open(world.request().unwrap(), Prompter::nobody()).unwrap();
    let before = greeted_after(&link, 0).await.generation;
    world.ssh.kill_connections();
    let view = greeted_after(&link, before).await;
    assert!(view.status.is_up());
    let reply = link.client().call::<Health>(HealthParams::default()).await;
    assert!(reply.unwrap().ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_exec_it_is_said_and_the_secret_is_asked_for() {
    let options = LoopbackOptions {
        exec: Some(Arc::new(|_| ExecReply::Refused)),
        ..LoopbackOptions::default()
    };
    let world = World::start_with(options).await.unwrap();
    let mut connector = world.connector().unwrap();
    connector.options.remote = Some(gateway_port(&world).to_string());
    let request = connector.request(Some(&world.target())).unwrap();
    let link = Link::open(request, Prompter::nobody()).unwrap();
    let error = link.first_answer(SOON).await.unwrap_err();
    assert_eq!(error.layer, Layer::Token, "{error:?}");
    let notes = link.view().borrow().notes.clone();
    assert!(
        notes[0].contains("could not be looked up on 127.0.0.1"),
        "{notes:?}"
    );

    let credentials = Credentials::token(token_of(&world));
    link.client().use_credentials(credentials).await;
    let view = view_where(&link, |view| view.hello.is_some()).await;
    assert!(view.status.is_up());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typed_token_that_is_wrong_is_refused_although_the_device_is_known() {
    let world = World::start().await.unwrap();
    let link = Link::open(world.request().unwrap(), Prompter::nobody()).unwrap();
    greeted_after(&link, 0).await;
    link.stop().await;
    let mut connector = world.connector().unwrap();
    connector.options.token = Some(Secret::new("wrong"));
    let request = connector.request(Some(&world.target())).unwrap();
    let link = Link::open(request, Prompter::nobody()).unwrap();
    let error = down_at(&link, Layer::Token).await;
    assert_eq!(error.layer.exit_code(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_not_shown_to_another_end_than_it_was_found_for() {
    let world = World::start().await.unwrap();
    let other = World::start().await.unwrap();
    let mut connector = world.connector().unwrap();
    connector.options.remote = Some(gateway_port(&other).to_string());
    let request = connector.request(Some(&world.target())).unwrap();
    let link = Link::open(request, Prompter::nobody()).unwrap();
    let error = link.first_answer(SOON).await.unwrap_err();
    assert_eq!(error.layer, Layer::Token, "{error:?}");
}

/// A gateway of its own.
struct OwnGateway {
    port: u16,
    stop: CancellationToken,
    running: AbortOnDropHandle<Result<(), clawline_gateway::Broken>>,
}

impl OwnGateway {
    /// With this token, on this port (0 for any). A program that another test starts in this moment may
    /// still have the socket of a gateway before it.
    async fn start(dir: &std::path::Path, token: &str, port: u16) -> Self {
        let mut settings = GatewaySettings::new(dir.to_owned());
        settings.auth.token = Some(Secret::new(token));
        settings.port = port;
        settings.grace = Duration::ZERO;
        let binding = async {
            loop {
                match Gateway::bind(settings.clone()).await {
                    Ok(gateway) => return gateway,
                    Err(error) if error.to_string().contains("port") => {}
                    Err(error) => panic!("{error}"),
                }
                tokio::time::sleep(TRY_AGAIN).await;
            }
        };
        let gateway = tokio::time::timeout(SOON, binding).await.unwrap();
        let port = gateway.local_addr().port();
        let stop = CancellationToken::new();
        let running = AbortOnDropHandle::new(tokio::spawn(gateway.run(stop.clone())));
        Self {
            port,
            stop,
            running,
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

/// A far side whose config names what `said` holds: port and token. Also counts how often it was asked.
async fn world_that_says(said: &Arc<Mutex<(u16, &'static str, u32)>>) -> World {
    let said = Arc::clone(said);
    let exec = move |_: &str| {
        let mut said = said.lock().unwrap();
        said.2 += 1;
        let config = format!(
            "{{gateway:{{port:{},auth:{{token:'{}'}}}}}}",
            said.0, said.1
        );
        let stdout = format!("\n--clawline-found-- openclaw\n{config}\n\n--clawline-found-- end\n");
        ExecReply::Done {
            stdout: stdout.into_bytes(),
            status: 0,
        }
    };
    let options = LoopbackOptions {
        exec: Some(Arc::new(exec)),
        ..LoopbackOptions::default()
    };
    World::start_with(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_changed_its_token_or_its_port_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let port = fixed_port();
    let first = OwnGateway::start(&at("1"), "old-token-of-the-gateway", port).await;
    let said = Arc::new(Mutex::new((port, "old-token-of-the-gateway", 0)));
    let world = world_that_says(&said).await;
    let link = Link::open(world.request().unwrap(), Prompter::nobody()).unwrap();
    let before = greeted_after(&link, 0).await.generation;

    // The same port, another token, and nothing that knows this device.
    first.stop().await;
    said.lock().unwrap().1 = "new-token-of-the-gateway";
    let second = OwnGateway::start(&at("2"), "new-token-of-the-gateway", port).await;
    let before = greeted_after(&link, before).await.generation;

    // A port where nobody listens is asked about every five seconds, and not with each try.
    let asked = said.lock().unwrap().2;
    let started = std::time::Instant::now();
    second.stop().await;
    let is_tried_often = |view: &LinkView| matches!(view.status, TunnelStatus::Waiting { attempt, .. } if attempt > 6);
    view_where(&link, is_tried_often).await;
    let looks = said.lock().unwrap().2 - asked;
    let most = 2 + u32::try_from(started.elapsed().as_secs() / 5).unwrap();
    assert!(looks <= most, "{looks} looks in {:?}", started.elapsed());
    let second = OwnGateway::start(&at("2"), "new-token-of-the-gateway", port).await;
    let before = greeted_after(&link, before).await.generation;

    // Another port, while a web server took the old one.
    let third = OwnGateway::start(&at("3"), "new-token-of-the-gateway", 0).await;
    said.lock().unwrap().0 = third.port;
    second.stop().await;
    let binding = async {
        loop {
            match tokio::net::TcpListener::bind(("127.0.0.1", port)).await {
                Ok(web) => return web,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse),
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    };
    let web = tokio::time::timeout(SOON, binding).await.unwrap();
    let _serving = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((mut stream, _)) = web.accept().await {
            let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    }));
    greeted_after(&link, before).await;
}

/// Passes bytes on to the SSH server until `stalled` is set; connections of a later time work again.
async fn stalling_proxy(to: std::net::SocketAddr) -> (u16, Arc<AtomicBool>, AbortOnDropHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stalled = Arc::new(AtomicBool::new(false));
    let first_only = Arc::clone(&stalled);
    let serving = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        let mut is_first = true;
        while let Ok((near, _)) = listener.accept().await {
            let stalled = std::mem::take(&mut is_first).then(|| Arc::clone(&first_only));
            connections.spawn(async move {
                let far = tokio::net::TcpStream::connect(to).await.unwrap();
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                let up = pass(near_read, far_write, stalled.clone());
                let down = pass(far_read, near_write, stalled);
                tokio::join!(up, down);
            });
        }
    });
    (port, stalled, AbortOnDropHandle::new(serving))
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, stalled: Option<Arc<AtomicBool>>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if stalled
            .as_ref()
            .is_some_and(|stalled| stalled.load(Ordering::SeqCst))
        {
            std::future::pending::<()>().await;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_finds_an_ssh_connection_that_is_dead_without_a_word() {
    let world = World::start().await.unwrap();
    let (port, stalled, _proxy) = stalling_proxy(world.ssh.addr).await;
    let known_hosts = world.home.path().join("laptop/.ssh/known_hosts");
    let key = world.ssh.host_key.to_openssh().unwrap();
    std::fs::write(known_hosts, format!("[127.0.0.1]:{port} {key}\n")).unwrap();
    let mut connector = world.connector().unwrap();
    connector.options.ssh.port = Some(port);
    let request = connector.request(Some(&world.target())).unwrap();
    let link = Link::open(request, Prompter::nobody()).unwrap();
    let before = greeted_after(&link, 0).await.generation;
    stalled.store(true, Ordering::SeqCst);
    let asked = std::time::Instant::now();
    link.probe_now();
    greeted_after(&link, before).await;
    // A channel that is asked for over the dead connection would wait for 20 s.
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(18), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stops_the_way_is_named_by_its_layer() {
    let world = World::start().await.unwrap();
    let changed = format!(
        "[127.0.0.1]:{} {}\n",
        world.ssh.addr.port(),
        fresh_key().unwrap().public_key().to_openssh().unwrap()
    );
    let known_hosts = world.home.path().join("laptop/.ssh/known_hosts");
    let right = std::fs::read_to_string(&known_hosts).unwrap();
    let failing = async |request: LinkRequest| {
        let link = Link::open(request, Prompter::nobody()).unwrap();
        let error = link.first_answer(SOON).await.unwrap_err();
        let rows = link.view().borrow().rows.clone();
        assert_eq!(
            rows.row(error.layer).unwrap().state,
            RowState::Failed,
            "{rows:?}"
        );
        (error.layer, error.layer.exit_code())
    };
    std::fs::write(&known_hosts, changed).unwrap();
    assert_eq!(failing(world.request().unwrap()).await, (Layer::HostKey, 4));
    std::fs::write(&known_hosts, right).unwrap();

    let mut connector = world.connector().unwrap();
    connector.options.remote = Some("1".into());
    let closed = connector.request(Some(&world.target())).unwrap();
    assert_eq!(failing(closed).await, (Layer::Port, 6));

    let request = world.request().unwrap();
    // The laptop stays, and with it the directory: a link would make it again.
    let _laptop = world.stop_desktop().await;
    assert_eq!(failing(request).await, (Layer::Tcp, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forwards_nothing_is_exit_6() {
    let options = LoopbackOptions {
        refuse_forwarding: true,
        ..LoopbackOptions::default()
    };
    let world = World::start_with(options).await.unwrap();
    let mut request = world.request().unwrap();
    request.once = true;
    let link = Link::open(request, Prompter::nobody()).unwrap();
    let error = link.first_answer(SOON).await.unwrap_err();
    assert_eq!((error.layer, error.layer.exit_code()), (Layer::Forward, 6));
}
