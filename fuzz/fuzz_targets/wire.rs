//! Any text is a frame or an error; a frame that we write is the frame that we read; parameters of
//! `connect`, events and history of any shape never panic.
#![no_main]

use clawline::client::refusal::Refusal;
use clawline::protocol::device_auth;
use clawline::protocol::event::{AgentEvent, ChatEvent, SessionMessageEvent};
use clawline::protocol::frame::Frame;
use clawline::protocol::hello::{Challenge, ConnectParams, HelloOk};
use clawline::protocol::methods::chat::ChatHistoryReply;
use clawline::protocol::methods::sessions::SessionsListReply;
use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

fuzz_target!(|text: &str| {
    let _ = device_auth::parse_public_key(text);
    let _ = device_auth::parse_signature(text);
    let Ok(frame) = Frame::parse(text) else { return };
    assert_eq!(Frame::parse(&frame.to_text()), Ok(frame.clone()));
    let payload = match &frame {
        Frame::Request(request) => &request.params,
        Frame::Response(response) => {
            if let Some(error) = &response.error {
                let refusal = Refusal::from_rpc(error);
                assert!(!refusal.error.peer_text.chars().any(char::is_control));
            }
            &response.payload
        }
        Frame::Event(event) => &event.payload,
    };
    if let Some(params) = read::<ConnectParams>(payload) {
        assert!(!format!("{params:?}").is_empty());
    }
    let _ = read::<Challenge>(payload);
    let _ = read::<HelloOk>(payload);
    let _ = read::<ChatEvent>(payload);
    let _ = read::<AgentEvent>(payload);
    let _ = read::<SessionMessageEvent>(payload);
    let _ = read::<SessionsListReply>(payload);
    if let Some(history) = read::<ChatHistoryReply>(payload) {
        for message in &history.messages {
            let _ = (message.text(), message.sent_key());
        }
    }
});
