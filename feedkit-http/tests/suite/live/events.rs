//! A client of event streams, as plain as can be: HTTP/1.1 over a socket.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::document;
use super::world::PATIENCE;

/// An answer, whose body may go on.
pub(super) struct Stream {
    reader: BufReader<TcpStream>,
    pub(super) status: u16,
    pub(super) headers: HashMap<String, String>,
    /// What was read of the body and not looked at yet.
    text: String,
}

/// An event.
#[derive(Debug, Default)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) id: Option<String>,
    pub(super) data: Value,
}

impl Stream {
    pub(super) async fn get(address: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut request = format!("GET /api/notifications/stream{query} HTTP/1.1\r\nHost: {address}\r\n");
        headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
        stream.write_all((request + "\r\n").as_bytes()).await.unwrap();
        let mut reader = BufReader::new(stream);
        let status = line(&mut reader).await;
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HashMap::new();
        loop {
            let line = line(&mut reader).await;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        Stream { reader, status, headers, text: String::new() }
    }

    /// A stream of the bearer of this token.
    pub(super) async fn open(address: SocketAddr, token: &str, query: &str, cursor: Option<&str>) -> Self {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Authorization", &*bearer)];
        headers.extend(cursor.map(|cursor| ("Last-Event-ID", cursor)));
        Stream::get(address, query, &headers).await
    }

    /// The body of a problem.
    pub(super) async fn problem(mut self) -> Value {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let mut body = vec![0; self.headers["content-length"].parse().unwrap()];
        timeout(PATIENCE, self.reader.read_exact(&mut body)).await.unwrap().unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// The next event, comments included (they have no name); `None` at the end.
    pub(super) async fn any(&mut self) -> Option<Event> {
        let end = loop {
            match self.text.find("\n\n") {
                Some(end) => break end,
                None => self.chunk().await?,
            }
        };
        let block: String = self.text.drain(..end + 2).collect();
        let mut event = Event::default();
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                Some(("", _)) | None => {}
                Some(other) => panic!("{other:?}"),
            }
        }
        if !event.name.is_empty() {
            assert_eq!(event.data["type"], *event.name);
            document::check("tellStream", &event.data);
            if let Some(cursor) = event.data.get("cursor") {
                assert_eq!(event.id.as_deref(), cursor.as_str());
            }
        }
        Some(event)
    }

    /// The next event that is no comment.
    pub(super) async fn event(&mut self) -> Option<Event> {
        loop {
            let event = self.any().await?;
            if !event.name.is_empty() {
                return Some(event);
            }
        }
    }

    /// The next event, of this name.
    pub(super) async fn hear(&mut self, name: &str) -> Event {
        let event = self.event().await.expect("an event");
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    async fn chunk(&mut self) -> Option<()> {
        let size = usize::from_str_radix(&line(&mut self.reader).await, 16).expect("a chunk's size");
        let mut chunk = vec![0; size + 2];
        timeout(PATIENCE, self.reader.read_exact(&mut chunk)).await.unwrap().unwrap();
        self.text += std::str::from_utf8(&chunk[..size]).unwrap();
        (size > 0).then_some(())
    }
}

async fn line(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    timeout(PATIENCE, reader.read_line(&mut line)).await.expect("a line").unwrap();
    line.trim_end().to_owned()
}
