//! The access log: one line a request, and nothing in it that is nobody's business.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::world::{World, until};

/// Keeps every line there is, of all targets.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn access(&self) -> Vec<String> {
        self.all().into_iter().filter(|line| line.starts_with("feedkit::access ")).collect()
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                write!(self.0, " {}={value:?}", field.name()).unwrap();
            }
        }
        let mut text = Text(event.metadata().target().to_owned());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

// One thread, so that the subscriber hears everything.
#[tokio::test(flavor = "current_thread")]
async fn a_line_says_who_did_what_and_holds_no_token_and_no_text() {
    let lines = Lines::default();
    // With a second one the crate asks all subscribers whether they want a line. With one alone it
    // asks that of the thread which comes by first, and other tests' threads have none.
    let _second = tracing::Dispatch::new(Lines::default());
    let _guard = tracing::subscriber::set_default(lines.clone());
    let world = World::new();
    let gateway = world.start().await;
    let body = r#"{"userId":"u1","postId":"p-private","type":"comment","text":"hush"}"#;
    let answer = gateway.post("/api/events?token=token-u1", "token-u1", "X-Request-Id: r1\r\n", body).await;
    assert_eq!(answer.status, 202);
    gateway.post("/api/events", "token-secret", "X-Request-Id: r2\r\n", body).await;
    gateway.post("/api/events", "token-u2", "X-Request-Id: r3\r\n", body).await;
    gateway.post("/api/events", "token-u1", "", body.replace("comment", "like")).await;
    gateway.post("/api/events", "token-u1", "", body.replace("p-private", "p-panic")).await;
    gateway.get("/hush?hush=hush").await;
    until(|| lines.access().len() == 6).await;
    let access = lines.access();
    let has = |at: usize, parts: &[&str]| {
        for part in parts {
            assert!(access[at].contains(part), "{part} in {}", access[at]);
        }
    };
    let bytes = format!("bytes={} ", answer.body.len());
    has(
        0,
        &[
            "method=\"POST\"",
            "route=\"/api/events\"",
            "status=202",
            &bytes,
            "duration_ms=",
            "request_id=\"r1\"",
        ],
    );
    has(0, &["client=127.0.0.1", "user=\"u1\""]);
    has(1, &["status=401", "request_id=\"r2\""]);
    assert!(!access[1].contains("user="), "{}", access[1]);
    has(2, &["status=403", "user=\"u2\""]);
    has(4, &["status=500"]);
    has(5, &["method=\"GET\"", "route=\"none\"", "status=404"]);
    for line in lines.all().iter().filter(|line| line.starts_with("feedkit")) {
        for secret in ["token-", "hush", "p-private"] {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
    }
    gateway.stop().await;
}
