//! OpenAI-compatible endpoints, Anthropic and Ollama, through the `genai` crate.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use clawline::layer::printable;
use clawline::secret::Secret;
use clawline::secret_text::{self, Kind, NoSecret};
use futures_util::StreamExt;
use genai::adapter::AdapterKind;
use genai::chat::{ChatMessage, ChatOptions, ChatRequest, ChatStreamEvent, ReasoningEffort};
use genai::resolver::{AuthData, Endpoint};
use genai::{Client, ModelIden, ServiceTarget, WebConfig};
use tokio::sync::{OnceCell, mpsc};

use super::super::config::ProviderKind;
use super::super::event::RunErrorKind;
use super::{ModelEvent, ModelRequest, Provider, ProviderError};
use crate::sessions::Usage;

/// How long reaching the endpoint may take, name resolution and TLS included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(15);
/// The longest piece of a provider's own words that is shown.
const MAX_ERROR_CHARS: usize = 400;
/// What is sent where the endpoint asks for a key and none is configured: local servers take any.
const NO_KEY: &str = "none";

/// Where and how a provider is reached.
#[derive(Debug, Clone)]
pub(in crate::runs) struct Target {
    /// The name in the configuration, for error texts.
    pub(in crate::runs) name: String,
    pub(in crate::runs) kind: ProviderKind,
    pub(in crate::runs) base_url: Option<String>,
    pub(in crate::runs) api_key: Option<Secret>,
    pub(in crate::runs) api_key_env: Option<String>,
}

/// A provider over HTTP. The HTTP client is made on the first request, because it costs start-up
/// time and memory that a gateway without traffic need not pay.
pub(in crate::runs) struct Genai {
    target: Target,
    client: Arc<OnceCell<Client>>,
}

impl Genai {
    /// `client` is shared by all providers.
    pub(in crate::runs) fn new(target: Target, client: Arc<OnceCell<Client>>) -> Self {
        Self { target, client }
    }

    async fn client(&self) -> Result<&Client, ProviderError> {
        self.client
            .get_or_try_init(|| async {
                let web = WebConfig::default().with_connect_timeout(CONNECT_DEADLINE);
                // A redirect is an error: the key goes to the configured address and nowhere else.
                let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
                let http = web.apply_to_builder(http).build();
                let http = http.map_err(|error| error.to_string())?;
                let client = Client::builder().with_reqwest(http).build();
                client.map_err(|error| error.to_string())
            })
            .await
            .map_err(|error: String| ProviderError::other(format!("no HTTP client: {error}")))
    }

    fn api_key(&self) -> Result<Option<Secret>, ProviderError> {
        if let Some(key) = &self.target.api_key {
            return Ok(Some(key.clone()));
        }
        let Some(variable) = &self.target.api_key_env else {
            return Ok(None);
        };
        let text = std::env::var(variable).map(Secret::new).unwrap_or_default();
        let why = match secret_text::read(text.expose(), Kind::Token) {
            Ok(handed) => {
                if handed.had_line_break {
                    tracing::warn!(%variable, "the line break at the end of the key is left out");
                }
                return Ok(Some(handed.secret));
            }
            Err(NoSecret::Empty) => "is not set".to_owned(),
            Err(why) => why.to_string(),
        };
        Err(ProviderError::other(format!(
            "the environment variable {variable} (models.providers.{}.apiKeyEnv) {why}",
            self.target.name
        )))
    }

    fn service(&self, model: &str, key: Option<&Secret>) -> ServiceTarget {
        let (adapter, default_url) = match self.target.kind {
            ProviderKind::Anthropic => (AdapterKind::Anthropic, "https://api.anthropic.com/v1/"),
            ProviderKind::Ollama => (AdapterKind::Ollama, "http://localhost:11434/"),
            ProviderKind::Openai | ProviderKind::Echo => {
                (AdapterKind::OpenAI, "https://api.openai.com/v1/")
            }
        };
        let url = self.target.base_url.as_deref().unwrap_or(default_url);
        ServiceTarget {
            endpoint: Endpoint::from_owned(base_url(self.target.kind, url)),
            auth: AuthData::from_single(key.map_or(NO_KEY, Secret::expose)),
            model: ModelIden::new(adapter, model.to_owned()),
        }
    }
}

#[async_trait]
impl Provider for Genai {
    async fn stream(
        &self,
        request: ModelRequest,
        tx: mpsc::Sender<ModelEvent>,
    ) -> Result<(), ProviderError> {
        let key = self.api_key()?;
        let client = self.client().await?;
        let service = self.service(&request.model, key.as_ref());
        let host = host_of(service.endpoint.base_url()).to_owned();
        let mut got_any = false;
        let saw_finish = Arc::new(AtomicBool::new(false));
        let options = options(&request, saw_finish.clone());
        let response = client
            .exec_chat_stream(service, chat_request(request), Some(&options))
            .await
            .map_err(|error| explain(&error, &host, false, key.as_ref()))?;
        let mut stream = response.stream;
        while let Some(event) = stream.next().await {
            let event = event.map_err(|error| explain(&error, &host, got_any, key.as_ref()))?;
            let event = match event {
                ChatStreamEvent::Chunk(chunk) => ModelEvent::Text(chunk.content),
                ChatStreamEvent::ReasoningChunk(chunk) => ModelEvent::Thinking(chunk.content),
                ChatStreamEvent::End(end) => {
                    if let Some(usage) = end.captured_usage {
                        let _ = tx.send(ModelEvent::Usage(counts(&usage))).await;
                    }
                    if let Some(reason) = end.captured_stop_reason {
                        let _ = tx.send(ModelEvent::Stop(reason.raw().to_owned())).await;
                    }
                    return Ok(());
                }
                _ => continue,
            };
            got_any = true;
            if tx.send(event).await.is_err() {
                return Ok(());
            }
        }
        // Some servers end without the closing mark, after having said that the answer is complete.
        if saw_finish.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(ProviderError::other(
            "the provider closed the connection before the answer was complete",
        ))
    }
}

fn chat_request(request: ModelRequest) -> ChatRequest {
    let messages = request
        .messages
        .into_iter()
        .map(|message| {
            if message.from_user {
                ChatMessage::user(message.text)
            } else {
                ChatMessage::assistant(message.text)
            }
        })
        .collect();
    let mut chat = ChatRequest::new(messages);
    chat.system = request.system;
    chat
}

fn options(request: &ModelRequest, saw_finish: Arc<AtomicBool>) -> ChatOptions {
    let mut options = ChatOptions::default()
        .with_capture_usage(true)
        .with_raw_frame_fn(move |_, frame| {
            if says_finished(frame.data) {
                saw_finish.store(true, Ordering::Relaxed);
            }
        });
    if let Some(max_tokens) = request.max_tokens {
        options = options.with_max_tokens(max_tokens);
    }
    let effort = request.thinking.as_deref();
    if let Some(effort) = effort.and_then(ReasoningEffort::from_keyword) {
        options = options.with_reasoning_effort(effort);
    }
    options
}

/// True for a chunk of a chat completion that names why it ends.
fn says_finished(data: &str) -> bool {
    if !data.contains("\"finish_reason\"") {
        return false;
    }
    serde_json::from_str::<serde_json::Value>(data)
        .is_ok_and(|chunk| chunk["choices"][0]["finish_reason"].is_string())
}

fn counts(usage: &genai::chat::Usage) -> Usage {
    let prompt = i64::from(usage.prompt_tokens.unwrap_or(0));
    let output = i64::from(usage.completion_tokens.unwrap_or(0));
    let total = usage.total_tokens.map_or(prompt + output, i64::from);
    let cached = usage.prompt_tokens_details.as_ref();
    let cache_read = i64::from(cached.and_then(|c| c.cached_tokens).unwrap_or(0));
    let cache_write = i64::from(cached.and_then(|c| c.cache_creation_tokens).unwrap_or(0));
    Usage {
        input: (prompt - cache_read - cache_write).max(0),
        output,
        total,
        cache_read,
        cache_write,
        cost: None,
    }
}

/// `genai` joins paths to the address as it is, so it must end with a slash; and it wants the
/// version in Anthropic's address but not in Ollama's.
fn base_url(kind: ProviderKind, url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    match kind {
        ProviderKind::Ollama => format!("{}/", url.strip_suffix("/v1").unwrap_or(url)),
        ProviderKind::Anthropic if !url.ends_with("/v1") => format!("{url}/v1/"),
        _ => format!("{url}/"),
    }
}

/// What happened, in the provider's own words where it has some, without the key.
fn explain(error: &genai::Error, host: &str, got_any: bool, key: Option<&Secret>) -> ProviderError {
    let (status, words, hints) = match (http_failure(error), broken_link(error)) {
        (Some((status, body)), _) => (Some(status), body_words(&body), body),
        (None, Some(why)) if got_any => {
            let words = format!("the connection broke before the answer was complete: {why}");
            (None, words, why)
        }
        (None, Some(why)) => (None, format!("cannot reach {host}: {why}"), why),
        (None, None) => (None, stream_words(error), error.to_string()),
    };
    let words = printable(&without(&words, key), MAX_ERROR_CHARS);
    let text = match status {
        Some(status) if (300..400).contains(&status) => format!(
            "HTTP {status}: {host} sends requests on to another address; \
             set models.providers.*.baseUrl to that one if you trust it"
        ),
        Some(status) if words.is_empty() => format!("HTTP {status}"),
        Some(status) => format!("HTTP {status}: {words}"),
        None => words,
    };
    ProviderError {
        kind: kind_of(status, &hints),
        text,
    }
}

/// The host and port of an address, without a name and password before them.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    host.rsplit_once('@').map_or(host, |(_, host)| host)
}

/// Why the connection failed, where that is what happened.
fn broken_link(error: &genai::Error) -> Option<String> {
    match error {
        genai::Error::WebStream { error, .. } => Some(deepest(error.as_ref())),
        genai::Error::WebModelCall {
            webc_error: genai::webc::Error::Reqwest(error),
            ..
        } => Some(deepest(error)),
        _ => None,
    }
}

fn http_failure(error: &genai::Error) -> Option<(u16, String)> {
    match error {
        genai::Error::HttpError { status, body, .. } => Some((status.as_u16(), body.clone())),
        genai::Error::WebStream { error, .. } => {
            error.downcast_ref::<genai::Error>().and_then(http_failure)
        }
        genai::Error::WebModelCall {
            webc_error: genai::webc::Error::ResponseFailedStatus { status, body, .. },
            ..
        } => Some((status.as_u16(), body.clone())),
        _ => None,
    }
}

/// The message inside an error body of the common shapes, or its beginning.
fn body_words(body: &str) -> String {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(body) else {
        return body.trim().to_owned();
    };
    value_words(&value).unwrap_or_else(|| body.trim().to_owned())
}

fn value_words(value: &serde_json::Value) -> Option<String> {
    ["/error/message", "/message", "/error", "/detail"]
        .into_iter()
        .find_map(|path| value.pointer(path).and_then(|found| found.as_str()))
        .map(str::to_owned)
}

fn stream_words(error: &genai::Error) -> String {
    match error {
        genai::Error::ChatResponse { body, .. } => {
            value_words(body).unwrap_or_else(|| body.to_string())
        }
        genai::Error::StreamParse { .. } => "the answer is not what this kind of provider sends; \
             check models.providers.*.kind and baseUrl"
            .to_owned(),
        other => other.to_string(),
    }
}

/// The first cause of a chain: "connection refused" rather than "error sending request for url".
fn deepest(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn without(text: &str, key: Option<&Secret>) -> String {
    match key {
        Some(key) if !key.is_blank() => text.replace(key.expose(), "***"),
        _ => text.to_owned(),
    }
}

fn kind_of(status: Option<u16>, hints: &str) -> RunErrorKind {
    let lower = hints.to_lowercase();
    if status == Some(429) {
        RunErrorKind::RateLimit
    } else if lower.contains("context length") || lower.contains("context_length") {
        RunErrorKind::ContextLength
    } else if status == Some(408) || status == Some(504) || lower.contains("timed out") {
        RunErrorKind::Timeout
    } else {
        RunErrorKind::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_made_as_the_kind_needs_them() {
        use ProviderKind::{Anthropic, Ollama, Openai};
        for (kind, given, made) in [
            (Openai, "http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1/"),
            (Openai, "http://127.0.0.1:1/v1/", "http://127.0.0.1:1/v1/"),
            (Anthropic, "https://a.example", "https://a.example/v1/"),
            (Anthropic, "https://a.example/v1", "https://a.example/v1/"),
            (Ollama, "http://h:11434/v1", "http://h:11434/"),
            (Ollama, "http://h:11434", "http://h:11434/"),
        ] {
            assert_eq!(base_url(kind, given), made);
        }
    }

    #[test]
    fn a_host_is_shown_without_name_and_password() {
        for (url, host) in [
            (
                "https://me:secret@models.example:8443/v1/",
                "models.example:8443",
            ),
            ("http://127.0.0.1:1/v1", "127.0.0.1:1"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }

    #[test]
    fn error_bodies_give_their_message() {
        for (body, words) in [
            (r#"{"error":{"message":"bad key","code":1}}"#, "bad key"),
            (r#"{"error":"model not found"}"#, "model not found"),
            (r#"{"detail":"no"}"#, "no"),
            ("<html>502</html>", "<html>502</html>"),
            (r#"{"odd":1}"#, r#"{"odd":1}"#),
        ] {
            assert_eq!(body_words(body), words);
        }
    }

    #[test]
    fn the_key_never_stands_in_a_text() {
        let key = Secret::new("sk-12345");
        assert_eq!(without("bad key sk-12345!", Some(&key)), "bad key ***!");
    }

    #[test]
    fn only_a_named_reason_is_an_end() {
        assert!(says_finished(r#"{"choices":[{"finish_reason":"stop"}]}"#));
        assert!(!says_finished(r#"{"choices":[{"finish_reason":null}]}"#));
        assert!(!says_finished("not json with \"finish_reason\""));
    }
}
