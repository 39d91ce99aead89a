//! The frames between clients and the gateway. Each frame is one JSON object.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use feedkit_core::{PostId, Timestamp, UserId};

/// A frame from a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClientFrame {
    Auth { token: String },
    Subscribe { channels: Vec<String>, cursor: Option<String> },
    Unsubscribe { channels: Vec<String> },
    Ping,
}

/// An error in a client's frame. The connection continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The stable name of the error.
    pub(super) code: &'static str,
    /// The error in words, with the value at fault.
    pub(super) detail: String,
}

/// A frame for clients. It is created once for all of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// The frame's `type`.
    pub(super) kind: &'static str,
    /// The JSON, without line breaks.
    pub(super) text: Utf8Bytes,
    /// The cursor in the frame.
    pub(super) cursor: Option<Arc<str>>,
}

#[derive(Deserialize)]
struct AnyFrame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    token: Option<String>,
    channels: Option<Vec<String>>,
    cursor: Option<String>,
}

impl ClientFrame {
    /// Parses a text frame.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let frame: AnyFrame<'_> = serde_json::from_str(text)
            .map_err(|error| Refusal::malformed(format!("not a frame: {error}")))?;
        let needs = |field| Refusal::malformed(format!("{} needs {field:?}", frame.kind));
        match &*frame.kind {
            "auth" => Ok(ClientFrame::Auth { token: frame.token.ok_or_else(|| needs("token"))? }),
            "subscribe" => Ok(ClientFrame::Subscribe {
                channels: frame.channels.ok_or_else(|| needs("channels"))?,
                cursor: frame.cursor,
            }),
            "unsubscribe" => {
                Ok(ClientFrame::Unsubscribe { channels: frame.channels.ok_or_else(|| needs("channels"))? })
            }
            "ping" => Ok(ClientFrame::Ping),
            other => {
                Err(Refusal::new("unknown-type", format!("there is no frame of type {:?}", short(other))))
            }
        }
    }
}

impl Refusal {
    pub(super) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Refusal { code, detail: detail.into() }
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Refusal::new("malformed", detail)
    }
}

/// The beginning of a client's text, for an error message.
pub(super) fn short(text: &str) -> Cow<'_, str> {
    const MOST: usize = 64;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum Said<'a> {
    Ready {
        user_id: &'a UserId,
        expires_at: Timestamp,
    },
    Subscribed {
        channels: &'a [String],
        recovered: bool,
        cursor: &'a str,
    },
    Counts {
        post_id: &'a PostId,
        counts: &'a BTreeMap<String, i64>,
    },
    Error {
        code: &'a str,
        detail: &'a str,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
    },
    Closing {
        reason: &'a str,
    },
}

/// How many bytes a frame takes in memory, in addition to its text and cursor.
const FRAME_BYTES: usize = 160;

impl Frame {
    /// How many bytes the frame takes in memory, about.
    pub(super) fn weight(&self) -> usize {
        self.text.len() + self.cursor.as_ref().map_or(0, |cursor| cursor.len()) + FRAME_BYTES
    }

    pub(super) fn ready(user_id: &UserId, expires_at: Timestamp) -> Self {
        Frame::said("ready", &Said::Ready { user_id, expires_at }, None)
    }

    pub(super) fn subscribed(channels: &[String], recovered: bool, cursor: Arc<str>) -> Self {
        let said = Said::Subscribed { channels, recovered, cursor: &cursor };
        Frame::said("subscribed", &said, Some(cursor.clone()))
    }

    /// `body` is the notification as JSON.
    pub(super) fn notification(channel: &str, cursor: Arc<str>, body: &str) -> Self {
        let mut text = String::with_capacity(body.len() + channel.len() + cursor.len() + 80);
        text.push_str(r#"{"type":"notification","channel":"#);
        text.push_str(&json(channel));
        text.push_str(r#","cursor":"#);
        text.push_str(&json(&*cursor));
        text.push_str(r#","notification":"#);
        text.push_str(body);
        text.push('}');
        Frame { kind: "notification", text: text.into(), cursor: Some(cursor) }
    }

    pub(super) fn counts(post_id: &PostId, counts: &BTreeMap<String, i64>) -> Self {
        Frame::said("counts", &Said::Counts { post_id, counts }, None)
    }

    pub(super) fn error(code: &str, detail: &str) -> Self {
        Frame::said("error", &Said::Error { code, detail }, None)
    }

    pub(super) fn pong(cursor: Option<Arc<str>>) -> Self {
        Frame::said("pong", &Said::Pong { cursor: cursor.as_deref() }, cursor.clone())
    }

    /// The last event of a stream, where a socket would get a close frame.
    pub(super) fn closing(reason: &str) -> Self {
        Frame::said("closing", &Said::Closing { reason }, None)
    }

    /// A comment with the current cursor, for a stream without events.
    pub(super) fn keep_alive(cursor: Option<Arc<str>>) -> Self {
        Frame { kind: "", text: Utf8Bytes::default(), cursor }
    }

    fn said(kind: &'static str, said: &Said<'_>, cursor: Option<Arc<str>>) -> Self {
        Frame { kind, text: json(said).into(), cursor }
    }
}

impl From<&Refusal> for Frame {
    fn from(refusal: &Refusal) -> Self {
        Frame::error(refusal.code, &refusal.detail)
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("strings, numbers and maps with string keys can be written as JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_protocol_lists() {
        let parse = ClientFrame::parse;
        assert_eq!(parse(r#"{"type":"auth","token":"t"}"#), Ok(ClientFrame::Auth { token: "t".into() }));
        assert_eq!(
            parse(r#"{"channels":["me"],"type":"subscribe","cursor":"c","more":1}"#),
            Ok(ClientFrame::Subscribe { channels: vec!["me".into()], cursor: Some("c".into()) })
        );
        assert_eq!(parse(r#"{"type":"ping"}"#), Ok(ClientFrame::Ping));
        for text in ["", "[]", "{}", "null", r#"{"type":"auth"}"#, r#"{"type":"subscribe","channels":"me"}"#]
        {
            assert_eq!(parse(text).unwrap_err().code, "malformed", "{text}");
        }
        assert_eq!(parse(r#"{"type":"PING"}"#).unwrap_err().code, "unknown-type");
    }

    #[test]
    fn names_are_escaped() {
        let frame = Frame::notification("role:a\"b", "c".into(), "{}");
        let json: serde_json::Value = serde_json::from_str(&frame.text).unwrap();
        assert_eq!(json["channel"], "role:a\"b");
        assert_eq!(short(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
    }
}
