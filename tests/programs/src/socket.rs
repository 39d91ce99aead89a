//! A WebSocket that listens, as the page does.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::PATIENCE;

/// An authenticated connection.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Where to continue after what was received.
    pub cursor: Option<String>,
}

impl Socket {
    /// Connects and authenticates.
    pub async fn open(address: SocketAddr, token: &str) -> Self {
        let (stream, _) = tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await.unwrap();
        let mut socket = Socket { stream, cursor: None };
        socket.send(&json!({"type": "auth", "token": token})).await;
        let ready = socket.next().await.unwrap();
        assert_eq!(ready["type"], "ready", "{ready}");
        socket
    }

    /// Listens. Says whether everything since the cursor is still there.
    pub async fn subscribe(&mut self, channels: &[&str], cursor: Option<&str>) -> bool {
        let mut frame = json!({"type": "subscribe", "channels": channels});
        if let Some(cursor) = cursor {
            frame["cursor"] = cursor.into();
        }
        self.send(&frame).await;
        // What was missed may come before.
        let subscribed = self.next().await.unwrap();
        assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
        self.cursor = Some(subscribed["cursor"].as_str().unwrap().to_owned());
        subscribed["recovered"].as_bool().unwrap()
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &Value) {
        self.stream.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame that is not `counts`; `None` when the connection is gone.
    pub async fn next(&mut self) -> Option<Value> {
        let next = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let frame: Value = serde_json::from_str(&text).unwrap();
                        if frame["type"] != "counts" {
                            return Some(frame);
                        }
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("no frame comes")
    }

    /// The next notification; `None` when the connection is gone.
    pub async fn notification(&mut self) -> Option<Value> {
        let frame = self.next().await?;
        assert_eq!(frame["type"], "notification", "{frame}");
        self.cursor = Some(frame["cursor"].as_str().unwrap().to_owned());
        Some(frame["notification"].clone())
    }

    /// The ids of all notifications up to the one that has `last`.
    pub async fn ids_until(&mut self, last: &str) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.last().is_none_or(|id| id != last) {
            let notification = self.notification().await.unwrap_or_else(|| panic!("only {ids:?} came"));
            ids.push(notification["id"].as_str().unwrap().to_owned());
        }
        ids
    }
}
