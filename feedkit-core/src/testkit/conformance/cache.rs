//! The suite of answer caches.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::sentence::Sentence;
use crate::AnswerCache;

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(50);

/// Tests the contract of [`AnswerCache`] with caches that have room for a hundred small answers. Do
/// not pause tokio's clock if the cache uses the system clock.
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub async fn answer_cache<C: AnswerCache>(fresh: impl AsyncFn() -> C) {
    let cache = fresh().await;
    let says = Sentence("get returns nothing where nothing was put");
    says.equal("answer", says.ok("get", cache.get("a").await), None);

    let says = Sentence("get returns the bytes of the last put under exactly this key");
    let long_key = |end: &str| format!("{}{end}", "k".repeat(511));
    let answers: Vec<(String, Bytes)> = vec![
        ("a".into(), Bytes::from_static(b"{\"a\":1}")),
        ("A".into(), Bytes::from_static(b"\x00\xff\r\n")),
        ("a:".into(), Bytes::new()),
        ("post:p~9@x:20".into(), Bytes::from(vec![7; 20_000])),
        (long_key("1"), Bytes::from_static(b"one")),
        (long_key("2"), Bytes::from_static(b"two")),
    ];
    for (key, answer) in &answers {
        says.ok("put", cache.put(key, answer.clone(), LONG).await);
    }
    for (key, answer) in &answers {
        says.equal(key, says.ok("get", cache.get(key).await).as_ref(), Some(answer));
    }
    says.ok("put", cache.put("a", Bytes::from_static(b"second"), LONG).await);
    says.equal(
        "after another put",
        says.ok("get", cache.get("a").await),
        Some(Bytes::from_static(b"second")),
    );
    says.equal("another key", says.ok("get", cache.get("A").await).as_ref(), Some(&answers[1].1));

    let says = Sentence("get never returns an answer after its time to live has passed");
    let cache = fresh().await;
    says.ok("put", cache.put("new", Bytes::from_static(b"1"), SHORT).await);
    says.ok("put", cache.put("shortened", Bytes::from_static(b"1"), LONG).await);
    says.ok("put", cache.put("shortened", Bytes::from_static(b"2"), SHORT).await);
    for key in ["new", "shortened"] {
        until_over(says, &cache, key).await;
    }

    let says = Sentence("an answer that was put again has the new time to live");
    says.ok("put", cache.put("prolonged", Bytes::from_static(b"1"), SHORT).await);
    says.ok("put", cache.put("prolonged", Bytes::from_static(b"2"), LONG).await);
    // It was put after the first answer, so it expires after it.
    says.ok("put", cache.put("later", Bytes::from_static(b"3"), SHORT).await);
    until_over(says, &cache, "later").await;
    says.equal("answer", says.ok("get", cache.get("prolonged").await), Some(Bytes::from_static(b"2")));
}

/// Waits until the answer under `key` has expired.
async fn until_over(says: Sentence, cache: &impl AnswerCache, key: &str) {
    let over = async {
        while says.ok("get", cache.get(key).await).is_some() {
            sleep(SHORT / 5).await;
        }
    };
    says.ends("waiting for an answer to expire", over).await;
}
