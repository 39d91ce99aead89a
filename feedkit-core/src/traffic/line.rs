//! The lines: valid JSON, and malformed variants of it.

use std::fmt::Write;

use bytes::Bytes;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::{EventId, Timestamp};

/// An event before it becomes a line.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) id: Option<EventId>,
    pub(super) user: String,
    pub(super) post: String,
    pub(super) kind: &'static str,
    pub(super) time: Option<Timestamp>,
    pub(super) text: Option<String>,
}

impl Draft {
    pub(super) fn line(&self) -> String {
        let mut line =
            format!(r#"{{"userId":"{}","postId":"{}","type":"{}""#, self.user, self.post, self.kind);
        let mut field = |name: &str, value: &dyn std::fmt::Display| {
            write!(line, r#","{name}":{value}"#).expect("writing to a string cannot fail");
        };
        if let Some(id) = self.id {
            field("id", &format_args!("\"{id}\""));
        }
        if let Some(time) = self.time {
            field("timestamp", &format_args!("\"{time}\""));
        }
        if let Some(text) = &self.text {
            field("text", &serde_json::Value::from(text.as_str()));
        }
        line.push('}');
        line
    }
}

const WORDS: [&str; 16] = [
    "well",
    "no",
    "yes",
    "really",
    "first",
    "nice",
    "again",
    "tomorrow",
    "\"quoted\"",
    "back\\slash",
    "naïve",
    "日本語",
    "🙂",
    "tab\there",
    "why",
    "thanks",
];

/// A text such as a user might write, with quotes, escapes and characters of several bytes.
pub(super) fn text(rng: &mut ChaCha8Rng) -> String {
    let words = rng.random_range(1..12);
    let words: Vec<_> = (0..words).map(|_| WORDS[rng.random_range(0..WORDS.len())]).collect();
    words.join(" ")
}

/// A line that no codec can decode as an event, made from a valid one.
pub(super) fn malformed(rng: &mut ChaCha8Rng, draft: &Draft) -> Bytes {
    let mut draft = draft.clone();
    let line = draft.line();
    let text = match rng.random_range(0..12) {
        0 => line[..line.len() / 2].to_owned(),
        1 => line.replace(r#""userId""#, r#""user""#),
        2 => line.replace(r#""postId""#, r#""post""#),
        3 => line.replace(r#""type""#, r#""kind""#),
        4 => return bad_utf8(line),
        5 => {
            (draft.kind, draft.text) = ("comment", Some("a\0b".to_owned()));
            draft.line()
        }
        6 => {
            draft.time = Some(Timestamp::MAX);
            draft.line()
        }
        7 => {
            draft.time = Some(Timestamp::from_millis(-1));
            draft.line()
        }
        8 => return Bytes::new(),
        9 => line.replace(&format!(r#""type":"{}""#, draft.kind), r#""type":"explode""#),
        10 => {
            draft.id = None;
            draft.line().replacen('{', r#"{"id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","#, 1)
        }
        _ => format!("[{line}]"),
    };
    text.into_bytes().into()
}

fn bad_utf8(line: String) -> Bytes {
    let mut bytes = line.into_bytes();
    let inside_user = br#"{"userId":""#.len();
    bytes.insert(inside_user, 0xff);
    bytes.into()
}
