//! The genai adapter against servers that behave and servers that do not.

use std::sync::Arc;
use std::time::Duration;

use clawline::secret::Secret;
use tokio::sync::{OnceCell, mpsc};

use super::super::config::ProviderKind;
use super::super::event::RunErrorKind;
use super::fake::{FakeModel, Reply};
use super::genai::{Genai, Target};
use super::{ModelEvent, ModelMessage, ModelRequest, Provider, ProviderError};
use crate::sessions::Usage;

const DEADLINE: Duration = Duration::from_secs(60);
const KEY: &str = "sk-test-0123456789";

fn target(kind: ProviderKind, url: &str) -> Target {
    Target {
        name: "home".to_owned(),
        kind,
        base_url: Some(url.to_owned()),
        api_key: Some(Secret::new(KEY)),
        api_key_env: None,
    }
}

async fn ask(target: Target) -> (Vec<ModelEvent>, Result<(), ProviderError>) {
    let provider = Genai::new(target, Arc::new(OnceCell::new()));
    let request = ModelRequest {
        model: "qwen".to_owned(),
        system: Some("be brief".to_owned()),
        messages: vec![ModelMessage {
            from_user: true,
            text: "hi".to_owned(),
        }],
        ..Default::default()
    };
    let (tx, mut rx) = mpsc::channel(64);
    let ended = tokio::time::timeout(DEADLINE, provider.stream(request, tx));
    let ended = ended.await.expect("the answer ends");
    let mut events = Vec::new();
    while let Some(event) = rx.recv().await {
        events.push(event);
    }
    (events, ended)
}

fn text(events: &[ModelEvent]) -> String {
    let piece = |event: &ModelEvent| match event {
        ModelEvent::Text(piece) => Some(piece.clone()),
        _ => None,
    };
    events.iter().filter_map(piece).collect()
}

const PIECES: [&str; 4] = [
    r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"},"finish_reason":null}]}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":null}]}"#,
    r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}"#,
];

#[tokio::test]
async fn an_openai_compatible_answer_streams_with_its_usage() {
    let mut data = PIECES.to_vec();
    data.push("[DONE]");
    let mut server = FakeModel::start(vec![Reply::events(&data)]).await;
    let (events, ended) = ask(target(ProviderKind::Openai, &format!("{}/v1", server.url))).await;
    assert_eq!(ended, Ok(()));
    assert_eq!(text(&events), "Hello");
    let usage = Usage {
        input: 7,
        output: 2,
        total: 9,
        ..Usage::default()
    };
    assert!(events.contains(&ModelEvent::Usage(usage)), "{events:?}");
    assert!(events.contains(&ModelEvent::Stop("stop".to_owned())));

    let (head, body) = server.requests.recv().await.unwrap();
    assert!(head.starts_with("POST /v1/chat/completions "), "{head}");
    assert!(head.contains(&format!("Bearer {KEY}")), "{head}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["model"], "qwen");
    assert_eq!(body["stream"], true);
    assert_eq!(body["messages"][0]["role"], "system");
    assert_eq!(body["messages"][1]["content"], "hi");
}

#[tokio::test]
async fn an_answer_that_named_its_end_needs_no_closing_mark() {
    let server = FakeModel::start(vec![Reply::events(&PIECES[..3])]).await;
    let (events, ended) = ask(target(ProviderKind::Openai, &server.url)).await;
    assert_eq!((text(&events).as_str(), ended), ("Hello", Ok(())));
}

#[tokio::test]
async fn a_cut_answer_is_an_error_and_keeps_what_came() {
    let cut = Reply {
        complete: false,
        ..Reply::events(&PIECES[..2])
    };
    let server = FakeModel::start(vec![Reply::events(&PIECES[..2]), cut]).await;
    for _ in 0..2 {
        let (events, ended) = ask(target(ProviderKind::Openai, &server.url)).await;
        assert_eq!(text(&events), "Hello");
        let error = ended.unwrap_err().text;
        assert!(error.contains("before the answer was complete"), "{error}");
    }
}

#[tokio::test]
async fn a_refused_key_is_told_in_the_providers_words_without_the_key() {
    let body = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}."}}}}"#);
    let server = FakeModel::start(vec![Reply::failure("401 Unauthorized", &body)]).await;
    let (events, ended) = ask(target(ProviderKind::Openai, &server.url)).await;
    assert!(events.is_empty());
    assert_eq!(
        ended.unwrap_err().text,
        "HTTP 401: Incorrect API key provided: ***."
    );
}

#[tokio::test]
async fn failures_have_a_kind() {
    for (status, body, kind) in [
        (
            "429 Too Many Requests",
            r#"{"error":{"message":"slow down"}}"#,
            RunErrorKind::RateLimit,
        ),
        (
            "400 Bad Request",
            r#"{"error":{"message":"x","code":"context_length_exceeded"}}"#,
            RunErrorKind::ContextLength,
        ),
        (
            "400 Bad Request",
            r#"{"error":{"message":"This model's maximum context length is 4096 tokens"}}"#,
            RunErrorKind::ContextLength,
        ),
        ("500 Oops", "<html>oops</html>", RunErrorKind::Unknown),
    ] {
        let server = FakeModel::start(vec![Reply::failure(status, body)]).await;
        let (_, ended) = ask(target(ProviderKind::Openai, &server.url)).await;
        assert_eq!(ended.unwrap_err().kind, kind, "{status} {body}");
    }
}

#[tokio::test]
async fn an_error_inside_the_stream_is_told() {
    let data = [PIECES[0], r#"{"error":{"message":"model exploded"}}"#];
    let server = FakeModel::start(vec![Reply::events(&data)]).await;
    let (events, ended) = ask(target(ProviderKind::Openai, &server.url)).await;
    assert_eq!(text(&events), "Hel");
    assert_eq!(ended.unwrap_err().text, "model exploded");
}

#[tokio::test]
async fn a_closed_port_and_a_missing_key_are_told_plainly() {
    // Bound, so that nobody else gets it, and not listened on.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    let (_, ended) = ask(target(ProviderKind::Openai, &url)).await;
    let error = ended.unwrap_err().text;
    assert!(error.starts_with("cannot reach 127.0.0.1:"), "{error}");
    assert!(error.to_lowercase().contains("refused"), "{error}");

    let missing = Target {
        api_key: None,
        api_key_env: Some("CLAWLINE_TEST_NO_SUCH_KEY".to_owned()),
        ..target(ProviderKind::Openai, &url)
    };
    let (_, ended) = ask(missing).await;
    assert_eq!(
        ended.unwrap_err().text,
        "the environment variable CLAWLINE_TEST_NO_SUCH_KEY \
         (models.providers.home.apiKeyEnv) is not set"
    );
}

#[tokio::test]
async fn a_redirect_never_takes_the_key_to_another_address() {
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let mut elsewhere = FakeModel::start(vec![Reply::events(&PIECES)]).await;
        let away = Reply {
            location: Some(format!("{}/v1/chat/completions", elsewhere.url)),
            ..Reply::failure(status, "{}")
        };
        let server = FakeModel::start(vec![away]).await;
        let (events, ended) = ask(target(ProviderKind::Openai, &server.url)).await;
        let error = ended.unwrap_err().text;
        assert!(events.is_empty(), "{status}");
        assert!(error.contains("another address"), "{status}: {error}");
        assert!(elsewhere.requests.try_recv().is_err(), "{status}");
    }
}

#[tokio::test]
async fn what_is_no_model_server_ends_in_an_error() {
    let page = Reply {
        content_type: "text/html",
        ..Reply::failure("200 OK", "<html>a router's login page</html>")
    };
    let server = FakeModel::start(vec![page]).await;
    let (events, ended) = ask(target(ProviderKind::Openai, &server.url)).await;
    assert!(events.is_empty());
    assert!(ended.is_err());
}

#[tokio::test]
async fn anthropic_streams_too() {
    let data = [
        (
            "message_start",
            r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"model":"qwen","usage":{"input_tokens":5,"output_tokens":1}}}"#,
        ),
        (
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ),
        (
            "content_block_delta",
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}"#,
        ),
        (
            "content_block_stop",
            r#"{"type":"content_block_stop","index":0}"#,
        ),
        (
            "message_delta",
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}"#,
        ),
        ("message_stop", r#"{"type":"message_stop"}"#),
    ];
    let reply = Reply {
        pieces: data
            .iter()
            .map(|(event, data)| format!("event: {event}\ndata: {data}\n\n"))
            .collect(),
        ..Reply::events(&[])
    };
    let mut server = FakeModel::start(vec![reply]).await;
    let (events, ended) = ask(target(ProviderKind::Anthropic, &server.url)).await;
    assert_eq!(ended, Ok(()));
    assert_eq!(text(&events), "Hello");
    let usage = events.iter().find_map(|event| match event {
        ModelEvent::Usage(usage) => Some(*usage),
        _ => None,
    });
    assert_eq!(usage.map(|usage| usage.input), Some(5));
    let (head, _) = server.requests.recv().await.unwrap();
    assert!(head.starts_with("POST /v1/messages "), "{head}");
    assert!(head.contains(KEY), "{head}");
}

#[tokio::test]
async fn ollama_streams_too() {
    let lines = [
        r#"{"model":"qwen","message":{"role":"assistant","content":"Hel"},"done":false}"#,
        r#"{"model":"qwen","message":{"role":"assistant","content":"lo"},"done":false}"#,
        r#"{"model":"qwen","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":4,"eval_count":2}"#,
    ];
    let reply = Reply {
        content_type: "application/x-ndjson",
        pieces: lines.iter().map(|line| format!("{line}\n")).collect(),
        ..Reply::events(&[])
    };
    let mut server = FakeModel::start(vec![reply]).await;
    let (events, ended) = ask(target(ProviderKind::Ollama, &format!("{}/v1", server.url))).await;
    assert_eq!(ended, Ok(()));
    assert_eq!(text(&events), "Hello");
    let (head, _) = server.requests.recv().await.unwrap();
    assert!(head.starts_with("POST /api/chat "), "{head}");
}
