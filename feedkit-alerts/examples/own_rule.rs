//! Your own rule, in a pipeline in memory: it reports too many comments on one post within a
//! minute.
//!
//! `cargo run -p feedkit-alerts --example own_rule`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;

use feedkit_alerts::{AlertFollower, AlertOptions, RuleSet};
use feedkit_core::alert::{AlertRule, Keeping, Key, RuleContext};
use feedkit_core::effect::Effect;
use feedkit_core::memory::{MemoryAlertLog, MemoryHistory, MemoryLog};
use feedkit_core::notification::{Audience, Notification, Severity};
use feedkit_core::sink::NewRecord;
use feedkit_core::{Alerts, Error, EventKind, EventSink, Pipeline, Positions, Result, SystemClock};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

// [rule]
/// Alerts moderators to a post that gets `most` comments within one minute of event time.
struct CommentFlood {
    most: u32,
}

/// The state of one post. It is small, has no heap data, and is all zeros at first.
#[derive(Default, Clone, Serialize, Deserialize)]
struct Minute {
    minute: i64,
    comments: u32,
}

impl AlertRule for CommentFlood {
    type State = Minute;

    fn name(&self) -> &str {
        "comment_flood"
    }

    fn keeping(&self) -> Keeping {
        Keeping::Evictable { max_keys: 100_000 }
    }

    fn key<'e>(&self, effect: &'e Effect) -> Option<Key<'e>> {
        (effect.kind == EventKind::Comment).then_some(Key::Post(&effect.post))
    }

    fn observe(&self, state: &mut Minute, effect: &Effect, context: &mut dyn RuleContext) {
        let minute = effect.time.as_millis().div_euclid(60_000);
        if minute > state.minute {
            *state = Minute { minute, comments: 0 };
        }
        // A late comment belongs to a minute that is over.
        if minute < state.minute {
            return;
        }
        state.comments += 1;
        if state.comments == self.most {
            context.raise(Notification {
                // Rule, key and episode: a replay raises the same alert again.
                id: format!("comment_flood:{}:{minute}", effect.post),
                kind: "COMMENT_FLOOD".into(),
                severity: Severity::Warning,
                audience: Audience::Role("moderator".into()),
                title: format!("{} gets {} comments a minute", effect.post, self.most),
                data: serde_json::Map::from_iter([("postId".to_owned(), effect.post.as_str().into())]),
                occurred_at: effect.time,
            });
        }
    }
}
// [/rule]

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // [assemble]
    let log = MemoryLog::new(4, SystemClock);
    let history = Arc::new(MemoryHistory::new());
    let alerts = Arc::new(MemoryAlertLog::new());
    let rules = RuleSet::standard().with(CommentFlood { most: 20 });
    let follower = AlertFollower::new(
        alerts.clone(),
        history.clone(),
        rules,
        Arc::new(SystemClock),
        AlertOptions::default(),
    )?;
    let pipeline = Pipeline::builder(log.reader("feedkit"), history).follower(follower).build();
    // [/assemble]

    let handle = pipeline.handle();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(pipeline.run(shutdown.clone()));

    let mut sent = Positions::new();
    for outcome in log.send((0..60).map(comment).collect()).await {
        let position = outcome?;
        sent.advance(position.partition, position.offset);
    }
    handle.reached(&sent).await?;

    let raised = alerts.alerts(None, 10).await?;
    for (number, alert) in &raised {
        println!("{number}: {} at {}: {}", alert.kind, alert.occurred_at, alert.title);
    }
    assert_eq!(raised.len(), 1);
    assert!(raised[0].1.id.starts_with("comment_flood:p1:"));

    shutdown.cancel();
    running.await.map_err(|e| Error::fatal(e.to_string()))?
}

/// One comment per second on p1 by different users. This is 60 within a minute, and one alert, not
/// 41.
fn comment(second: u32) -> NewRecord {
    let user = format!("u{second}");
    let event = serde_json::json!({
        "userId": user, "postId": "p1", "type": "comment", "text": "first!",
        "timestamp": format!("2026-01-02T03:04:{second:02}Z"),
    });
    NewRecord::keyed(user, event.to_string().into())
}
