//! The upgrade to WebSocket, by hand: no subprotocol, no extension, on every path.

use axum::body::Body;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::guard::Refused;

/// The one version of RFC 6455.
const WEBSOCKET_VERSION: &str = "13";
/// Length of a key: 16 bytes in base64.
const KEY_CHARS: usize = 24;

/// Whether the request asks for a WebSocket.
pub(super) fn is_wanted<B>(request: &Request<B>) -> bool {
    has_token(request.headers(), &UPGRADE, "websocket")
}

/// The 101, or why not.
pub(super) fn accept<B>(request: &Request<B>) -> Result<Response<Body>, Refused> {
    let bad = |message| Refused::new(StatusCode::BAD_REQUEST, "bad_upgrade", message);
    let headers = request.headers();
    if request.method() != Method::GET || request.version() < Version::HTTP_11 {
        return Err(bad("a WebSocket starts with GET and HTTP/1.1"));
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(bad("the Connection header does not say Upgrade"));
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != WEBSOCKET_VERSION)
    {
        return Err(Refused::new(
            StatusCode::UPGRADE_REQUIRED,
            "websocket_version",
            "Sec-WebSocket-Version must be 13",
        ));
    }
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .map(HeaderValue::as_bytes)
        .filter(|key| key.len() == KEY_CHARS)
        .ok_or_else(|| bad("Sec-WebSocket-Key is missing or malformed"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&derive_accept_key(key))
        .map_err(|_| bad("Sec-WebSocket-Key is malformed"))?;
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(version: &str, key: &str, connection: &str) -> Result<Response<Body>, Refused> {
        let request = Request::builder()
            .header(UPGRADE, "WebSocket")
            .header(CONNECTION, connection)
            .header(SEC_WEBSOCKET_VERSION, version)
            .header(SEC_WEBSOCKET_KEY, key)
            .body(())
            .unwrap();
        assert!(is_wanted(&request));
        accept(&request)
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted_and_defects_are_refused() {
        const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
        let good = answer("13", KEY, "keep-alive, Upgrade").unwrap();
        assert_eq!(good.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(
            good.headers()[SEC_WEBSOCKET_ACCEPT],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert!(answer("8", KEY, "Upgrade").is_err());
        assert!(answer("13", "short", "Upgrade").is_err());
        assert!(answer("13", KEY, "close").is_err());
    }
}
