//! The upgrade of a request to a WebSocket.

use std::sync::Arc;

use poem::http::{HeaderMap, Method, StatusCode, header};
use poem::{Body, Request, Response};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::hub::Hub;
use super::origin;
use super::session::Session;
use crate::Problem;
use crate::state::State;

/// The name of the subprotocol. A second name after it is the token.
const PROTOCOL: &str = "feedkit.v1";

/// The size of the read buffer. It is small, because every socket allocates it and most are idle.
const READ_BUFFER: usize = 512;
const WRITE_BUFFER: usize = 4096;

/// Upgrades a request, and runs the session in a task of the hub.
pub(super) async fn open(state: Arc<State>, request: Request) -> poem::Result<Response> {
    Ok(upgrade(&state.live, &request)?)
}

fn upgrade(hub: &Arc<Hub>, request: &Request) -> Result<Response, Problem> {
    origin::check(request, &hub.options.origins)?;
    let key = accept_key(request)?;
    let Offer { known, token } = Offer::of(request.headers());
    if hub.is_closing() {
        return Err(Problem::unavailable("the gateway stops").retry_after(hub.options.live.auth_timeout));
    }
    let place = hub.admission.enter().ok_or_else(|| {
        Problem::unavailable("there are too many clients").retry_after(hub.options.live.auth_timeout)
    })?;
    let upgrade =
        request.take_upgrade().map_err(|_| Problem::malformed("this connection cannot be upgraded"))?;
    let limits = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(hub.options.live.max_frame_bytes))
        .max_frame_size(Some(hub.options.live.max_frame_bytes));
    let task = {
        let hub = Arc::clone(hub);
        async move {
            let Ok(Ok(upgraded)) = timeout(hub.options.live.auth_timeout, upgrade).await else { return };
            let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(limits)).await;
            Session::new(hub, socket, place).run(token).await;
        }
    };
    if !hub.spawn(task) {
        return Err(Problem::unavailable("the gateway stops").retry_after(hub.options.live.auth_timeout));
    }
    let mut answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, key);
    if known {
        answer = answer.header(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
    }
    Ok(answer.body(Body::empty()))
}

/// Checks that the request asks for a WebSocket, and returns the accept key.
fn accept_key(request: &Request) -> Result<String, Problem> {
    let headers = request.headers();
    let lists = |name, value: &str| words(headers, name).any(|word| word.eq_ignore_ascii_case(value));
    if request.method() != Method::GET
        || !lists(header::CONNECTION, "upgrade")
        || !lists(header::UPGRADE, "websocket")
    {
        return Err(Problem::malformed("this is a WebSocket: the request has to ask for an upgrade"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Problem::malformed("the WebSocket's version has to be 13").field("Sec-WebSocket-Version"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let key =
        key.ok_or_else(|| Problem::malformed("the WebSocket's key is missing").field("Sec-WebSocket-Key"))?;
    Ok(derive_accept_key(key.as_bytes()))
}

/// The subprotocols that a client offers in `Sec-WebSocket-Protocol`.
#[derive(Debug, PartialEq, Eq)]
struct Offer {
    /// Whether it names the protocol.
    known: bool,
    token: Option<String>,
}

impl Offer {
    fn of(headers: &HeaderMap) -> Self {
        let mut offered = words(headers, header::SEC_WEBSOCKET_PROTOCOL).skip_while(|word| *word != PROTOCOL);
        Offer { known: offered.next().is_some(), token: offered.next().map(str::to_owned) }
    }
}

/// The comma-separated values of a header, which may appear several times.
fn words(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_follows_the_protocol() {
        let offer = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::SEC_WEBSOCKET_PROTOCOL, line.parse().unwrap());
            }
            Offer::of(&headers)
        };
        let token = |token: &str| Some(token.to_owned());
        assert_eq!(offer(&[]), Offer { known: false, token: None });
        assert_eq!(offer(&["chat, x"]), Offer { known: false, token: None });
        assert_eq!(offer(&["feedkit.v1"]), Offer { known: true, token: None });
        assert_eq!(offer(&["feedkit.v1, a.b.c"]), Offer { known: true, token: token("a.b.c") });
        assert_eq!(offer(&["chat", "feedkit.v1", "a.b.c"]), Offer { known: true, token: token("a.b.c") });
    }
}
