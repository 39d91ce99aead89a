//! Embeds feedkit with an own rule and an own sink, on SQLite in a temporary directory, and checks
//! the results. Then it does this again with the same directory, as after a restart.

mod audit;
mod first_fan;

use std::path::Path;
use std::sync::Arc;

use feedkit_alerts::{AlertFollower, AlertOptions, RuleSet};
use feedkit_core::notification::{Audience, Notification};
use feedkit_core::sink::NewRecord;
use feedkit_core::{
    Alerts, EventSink, Inspect, Pipeline, Positions, PostId, Queries, Supervisor, SystemClock, UserId,
};
use feedkit_store::sqlite::{SourceOptions, Sqlite, SqliteOptions, USER_ACTIONS};

use crate::audit::Audited;
use crate::first_fan::FirstFan;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let first = run(dir.path()).await?;
    assert_eq!((first.likes, first.acknowledged), (3, 6));
    // The likes lie in different partitions, between which "first" is what came first to the rule:
    // one of them, once.
    let fans: Vec<_> = first.alerts.iter().filter(|alert| alert.kind == "FIRST_FAN").collect();
    assert_eq!(fans.len(), 1);
    assert_eq!(fans[0].id, "fan:p9");
    assert!(matches!(&fans[0].audience, Audience::User(user) if user.as_str().starts_with('u')));

    // The same events again, under the same ids, after a restart: acknowledged, and without any
    // effect.
    let second = run(dir.path()).await?;
    assert_eq!((second.likes, second.acknowledged), (3, 12));
    assert_eq!(second.alerts, first.alerts);
    println!("embedded: {} likes, {} alert(s), nothing twice", second.likes, second.alerts.len());
    Ok(())
}

/// What there is after a run.
struct Outcome {
    likes: i64,
    alerts: Vec<Notification>,
    acknowledged: usize,
}

async fn run(dir: &Path) -> Result<Outcome> {
    let clock = Arc::new(SystemClock);
    let store = Sqlite::open(dir.join("data"), SqliteOptions::default(), clock.clone()).await?;
    let (history, alerts) = (Arc::new(store.history()), Arc::new(store.alert_log()));
    let rules = RuleSet::standard().with(FirstFan);
    let follower =
        AlertFollower::new(alerts.clone(), history.clone(), rules, clock, AlertOptions::default())?;
    let source = store.log().member(USER_ACTIONS, "embed", SourceOptions::default()).await?;
    let pipeline = Pipeline::builder(source, history.clone()).follower(follower).build();
    let handle = pipeline.handle();
    let supervisor = Supervisor::builder().part("pipeline", |stop| pipeline.run(stop)).build();

    let audit = dir.join("audit.log");
    let sink = Audited::new(store.log().sink(USER_ACTIONS)?, &audit)?;
    let reached = supervisor.run_until(async {
        let mut sent = Positions::new();
        for outcome in sink.send(events()).await {
            let position = outcome?;
            sent.advance(position.partition, position.offset);
        }
        sink.flush().await?;
        handle.reached(&sent).await
    });
    assert!(reached.await??.stopped().is_empty());

    let post = history.post(&PostId::new("p9")?).await?.ok_or("p9 is not there")?;
    assert_eq!(post.author, Some(UserId::new("ann")?));
    let verification = history.verify().await?;
    assert_eq!(verification.differences, Vec::<String>::new());
    let alerts = alerts.alerts(None, 100).await?.into_iter().map(|(_, alert)| alert).collect();

    store.close().await;
    let acknowledged = std::fs::read_to_string(&audit)?.lines().count();
    Ok(Outcome { likes: post.likes, alerts, acknowledged })
}

/// A post, four likes of which one is taken back, by clients that made their own ids.
fn events() -> Vec<NewRecord> {
    let actions = [
        ("ann", "post", 1),
        ("u1", "like", 2),
        ("u2", "like", 3),
        ("u3", "like", 4),
        ("u4", "like", 5),
        ("u4", "unlike", 6),
    ];
    let event = |(user, kind, n): (&str, &str, u32)| {
        let event = serde_json::json!({
            "id": format!("019b76da-a80{n}-7000-8000-000000000000"),
            "userId": user, "postId": "p9", "type": kind, "timestamp": format!("2026-01-01T00:00:0{n}Z"),
        });
        NewRecord::keyed(user, event.to_string().into())
    };
    actions.into_iter().map(event).collect()
}
