//! What a node does with commands that break and with too many of them, and how it reads a gateway.

use clawline::client::ClientOptions;
use clawline::client::dial::Credentials;
use clawline::client::tcp::{Endpoint, TcpDialer};
use clawline::client::tokens::TokenStore;
use clawline::identity::Identity;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::*;

const DEADLINE: Duration = Duration::from_secs(60);
/// How long until a command is tried again that was not answered.
const LOOK: Duration = Duration::from_millis(200);
/// A command that ends when it is cancelled and not before.
const WAITS: &str = "waits";

/// A gateway that answers everything but results, which it keeps.
struct Peer {
    socket: WebSocketStream<TcpStream>,
    _host: AbortOnDropHandle<()>,
    news: mpsc::Receiver<News>,
}

impl Peer {
    /// A node whose commands end as `answer` says, and which has all the time for its results.
    async fn of(answer: fn(&str) -> Result<Value, Refused>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dialer = TcpDialer::new(Endpoint::loopback(port), Credentials::default());
        let identity = Arc::new(Identity::from_seed([1; 32]));
        let options = ClientOptions::node(identity, Arc::new(TokenStore::in_memory()), None);
        let (client, events) = Client::start_heard(Arc::new(dialer), options);
        let answer: Answer = Arc::new(move |task: Task| {
            async move {
                match task.command.as_str() {
                    WAITS => std::future::pending().await,
                    command => answer(command),
                }
            }
            .boxed()
        });
        let (news_tx, news) = mpsc::channel(2 * MAX_ANSWERS);
        let host = Host {
            patience: DEADLINE * 10,
            ..Host::answering(client, "node".to_owned(), answer, news_tx)
        };
        let host = host.run(events, CancellationToken::new());
        let (stream, _) = listener.accept().await.unwrap();
        let socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let mut peer = Self {
            socket,
            _host: AbortOnDropHandle::new(tokio::spawn(host)),
            news,
        };
        let challenge = json!({"nonce": "n", "ts": 1});
        peer.push("connect.challenge", &challenge).await;
        let connect = peer.request().await;
        let hello = json!({"type": "hello-ok", "protocol": 4,
            "server": {"version": "9", "connId": "c"}, "auth": {"role": "node", "scopes": []}});
        peer.answer(&connect, hello).await;
        peer
    }

    async fn send(&mut self, frame: Value) {
        let message = Message::text(frame.to_string());
        self.socket.send(message).await.unwrap();
    }

    async fn push(&mut self, event: &str, payload: &Value) {
        self.send(json!({"type": "event", "event": event, "payload": payload}))
            .await;
    }

    async fn answer(&mut self, request: &Value, payload: Value) {
        self.send(json!({"type": "res", "id": request["id"], "ok": true, "payload": payload}))
            .await;
    }

    async fn request(&mut self) -> Value {
        let read = async {
            loop {
                if let Message::Text(text) = self.socket.next().await.unwrap().unwrap() {
                    return serde_json::from_str(&text).unwrap();
                }
            }
        };
        tokio::time::timeout(DEADLINE, read).await.unwrap()
    }

    async fn ask(&mut self, id: &str, command: &str) {
        let request = json!({"id": id, "nodeId": "node", "command": command});
        self.push(INVOKE_REQUEST, &request).await;
    }

    /// Waits for the line about a command.
    async fn until_done(&mut self, wanted: &str) {
        let told = async {
            loop {
                let news = self.news.recv().await.unwrap();
                if matches!(news, News::Done { command, .. } if command == wanted) {
                    return;
                }
            }
        };
        tokio::time::timeout(DEADLINE, told).await.unwrap();
    }

    /// The next result, not yet taken.
    async fn result(&mut self) -> Value {
        loop {
            let request = self.request().await;
            if request["method"] == "node.invoke.result" {
                return request;
            }
            self.answer(&request, json!({"ok": true})).await;
        }
    }
}

#[tokio::test]
async fn a_command_that_panics_is_answered_as_a_fault_and_the_node_goes_on() {
    let mut peer = Peer::of(|command| match command {
        "breaks" => panic!("as this test wants"),
        _ => Ok(json!({"fine": true})),
    })
    .await;
    for round in 0..3 {
        let id = format!("broken-{round}");
        peer.ask(&id, "breaks").await;
        let broken = peer.result().await;
        assert_eq!(broken["params"]["id"], id.as_str());
        assert_eq!(broken["params"]["ok"], false);
        assert_eq!(broken["params"]["error"]["code"], "UNAVAILABLE");
        let told = broken["params"]["error"]["message"].as_str().unwrap();
        assert!(told.contains("fault of clawline"), "{told}");
        assert!(!told.contains("as this test wants"), "{told}");
        peer.answer(&broken, json!({"ok": true})).await;
        let id = format!("good-{round}");
        peer.ask(&id, "works").await;
        let good = peer.result().await;
        assert_eq!(good["params"]["id"], id.as_str());
        assert_eq!(good["params"]["ok"], true, "{good}");
        peer.answer(&good, json!({"ok": true})).await;
    }
}

#[tokio::test]
async fn of_many_commands_at_once_some_run_some_are_told_to_come_again_and_no_more_are_taken() {
    let mut peer = Peer::of(|_| Ok(json!({}))).await;
    peer.ask("waits", WAITS).await;
    let mut open = Vec::new();
    let mut ran = 1;
    // A command counts until the gateway has taken its result.
    for n in 1..MAX_ANSWERS {
        peer.ask(&format!("c-{n}"), "works").await;
        let result = peer.result().await;
        assert_eq!(result["params"]["id"], format!("c-{n}").as_str());
        match result["params"]["ok"] == true {
            true => ran += 1,
            false => {
                let told = result["params"]["error"]["message"].as_str().unwrap();
                assert!(told.contains("busy"), "{told}");
            }
        }
        open.push(result);
    }
    assert_eq!(ran, MAX_TASKS);
    for n in 0..50 {
        peer.ask(&format!("too-many-{n}"), "works").await;
    }
    // What is pushed is heard in its order: once this is, all of them were, with every place taken.
    let cancel = json!({"invokeId": "waits", "nodeId": "node"});
    peer.push(INVOKE_CANCEL, &cancel).await;
    peer.until_done(WAITS).await;
    for result in &open {
        peer.answer(result, json!({"ok": true})).await;
    }
    let until = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < until, "no place became free");
        // Places become free one by one, and a command that comes too early is not answered.
        peer.ask(&format!("late-{}", uuid::Uuid::new_v4()), "works")
            .await;
        let Ok(result) = tokio::time::timeout(LOOK, peer.result()).await else {
            continue;
        };
        let id = result["params"]["id"].as_str().unwrap();
        assert!(id.starts_with("late-"), "{id}");
        if result["params"]["ok"] == true {
            break;
        }
        peer.answer(&result, json!({"ok": true})).await;
    }
}

#[test]
fn the_request_is_found_in_the_recorded_words() {
    let text = "node capability surface is awaiting operator approval; run `openclaw nodes approve \
                449a65e8-71cf-4e68-a388-29aacfcfaa41` (see `openclaw nodes pending`)";
    assert_eq!(
        request_id(text).as_deref(),
        Some("449a65e8-71cf-4e68-a388-29aacfcfaa41")
    );
    assert_eq!(request_id("run `$(id)` nodes approve ;rm"), None);
}

#[test]
fn a_line_about_a_program_hides_nothing() {
    let params = serde_json::json!({"command": ["ls", "a\u{1b}b"]});
    assert_eq!(detail("system.run", Some(&params)), "ls 'a\\u{1B}b'");
    assert_eq!(detail("system.which", Some(&params)), "");
    assert_eq!(detail("system.run", None), "");
}
