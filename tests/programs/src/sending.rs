//! Many clients that send events and do not give up.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use feedkit_core::{Clock, EventId, Position, SystemClock};
use parking_lot::Mutex;
use serde_json::Value;

use crate::{Client, JSON, NDJSON};

/// Lines to be sent, shared out among clients by user: what one user does stays in order.
#[derive(Debug)]
pub struct Sending {
    queues: Vec<tokio::sync::Mutex<VecDeque<Item>>>,
    taken: Mutex<Vec<Taken>>,
    refused: AtomicUsize,
    batch: usize,
}

/// A line, and what it takes to send it again safely.
#[derive(Debug)]
struct Item {
    line: Bytes,
    /// Made by the client, if the line had none; `None` for what is no JSON object.
    id: Option<EventId>,
}

/// An event that the server accepted.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Its id.
    pub id: EventId,
    /// Where it is in the log.
    pub position: Position,
}

impl Sending {
    /// Sends `lines` by this many clients, up to `batch` at a time.
    pub fn new<'l>(lines: impl IntoIterator<Item = &'l [u8]>, clients: usize, batch: usize) -> Self {
        let mut queues = vec![VecDeque::new(); clients];
        for line in lines.into_iter().filter(|line| !line.trim_ascii().is_empty()) {
            let (item, user) = item(line);
            let place =
                user.bytes().fold(7_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
            queues[place % clients].push_back(item);
        }
        let queues = queues.into_iter().map(tokio::sync::Mutex::new).collect();
        Sending { queues, taken: Mutex::default(), refused: AtomicUsize::new(0), batch }
    }

    /// Sends until all is sent, `limit` more are taken, or the server is gone.
    pub async fn send(&self, client: &Client, limit: usize) {
        let until = self.count().saturating_add(limit);
        let clients = self.queues.iter().map(|queue| async {
            let mut queue = queue.lock().await;
            while !queue.is_empty() && self.count() < until {
                if !self.send_some(client, &mut queue).await {
                    return;
                }
            }
        });
        futures_util::future::join_all(clients).await;
    }

    /// Sends what stands first; `false` when the server is gone.
    async fn send_some(&self, client: &Client, queue: &mut VecDeque<Item>) -> bool {
        // By itself goes what is no JSON, and every now and then something else.
        let events = queue.iter().take_while(|item| item.id.is_some()).take(self.batch).count();
        if events < 2 {
            return self.send_one(client, queue).await;
        }
        let lines: Vec<_> = queue.iter().take(events).map(|item| &item.line[..]).collect();
        let answer = client.try_post("/api/events/batch", NDJSON, lines.join(&b'\n').into()).await;
        let Ok(answer) = answer else { return false };
        if answer.status == 503 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            return true;
        }
        let body = answer.expect(200);
        for result in body["results"].as_array().unwrap() {
            match result["status"].as_str().unwrap() {
                "accepted" => self.note_taken(queue.pop_front().unwrap(), result),
                "invalid" => self.note_refused(queue),
                // All that follow are sent again with it, so that they stay in order.
                _ => return true,
            }
        }
        true
    }

    async fn send_one(&self, client: &Client, queue: &mut VecDeque<Item>) -> bool {
        let Some(item) = queue.front() else { return true };
        let Ok(answer) = client.try_post("/api/events", JSON, item.line.clone()).await else { return false };
        match answer.status.as_u16() {
            202 => self.note_taken(queue.pop_front().unwrap(), &answer.body),
            400 | 403 | 422 => self.note_refused(queue),
            503 => tokio::time::sleep(Duration::from_millis(20)).await,
            other => panic!("{other}: {}", answer.body),
        }
        true
    }

    fn note_taken(&self, item: Item, answer: &Value) {
        let id: EventId = answer["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(Some(id), item.id, "taken as another");
        let position = answer["position"].as_str().unwrap().parse().unwrap();
        self.taken.lock().push(Taken { id, position });
    }

    fn note_refused(&self, queue: &mut VecDeque<Item>) {
        queue.pop_front();
        self.refused.fetch_add(1, Ordering::SeqCst);
    }

    /// What was taken so far, in no order.
    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().clone()
    }

    fn count(&self) -> usize {
        self.taken.lock().len()
    }

    /// How many were refused for good.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// How many are still to be sent.
    pub async fn left(&self) -> usize {
        let mut left = 0;
        for queue in &self.queues {
            left += queue.lock().await.len();
        }
        left
    }
}

impl Clone for Item {
    fn clone(&self) -> Self {
        Item { line: self.line.clone(), id: self.id }
    }
}

/// The line with an id, and who acts in it.
fn item(line: &[u8]) -> (Item, String) {
    let Ok(Value::Object(mut event)) = serde_json::from_slice(line) else {
        return (Item { line: Bytes::copy_from_slice(line), id: None }, String::new());
    };
    let user = event.get("userId").and_then(Value::as_str).unwrap_or_default().to_owned();
    let own = event.get("id").and_then(Value::as_str).map(str::parse);
    let (line, id) = match own {
        Some(Ok(id)) => (Bytes::copy_from_slice(line), Some(id)),
        // Refused, so that any id will do.
        Some(Err(_)) => (Bytes::copy_from_slice(line), Some(EventId::new(SystemClock.now()))),
        None => {
            let id = EventId::new(SystemClock.now());
            event.insert("id".to_owned(), id.to_string().into());
            (Value::Object(event).to_string().into(), Some(id))
        }
    };
    (Item { line, id }, user)
}
