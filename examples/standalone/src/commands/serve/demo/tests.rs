//! What the demo sends makes the rules raise what it promises.

use std::sync::Arc;

use feedkit_core::notification::{Audience, Notification};
use feedkit_core::{Alerts, ErrorKind, Supervisor};
use feedkit_server::settings::{Given, Layers};

use super::*;
use crate::assembly::Assembly;
use crate::config::{AllSections, Config};

fn config(data: &Path) -> Config {
    let data = data.to_str().unwrap().to_owned();
    let variable = move |name: &str| (name == "FEEDKIT_DATA").then(|| data.clone().into());
    let layers = Layers::new::<AllSections>(&[], Given::default(), variable, None).unwrap();
    Config::load(&layers).unwrap()
}

/// What is raised about a chapter that began a while ago, played at once. Its start too.
async fn raised(data: &Path, is_new: bool) -> (Timestamp, Chapter, Vec<Notification>) {
    let assembly = Assembly::open(&config(data)).await.unwrap();
    let (store, pipeline) = (assembly.store.clone(), assembly.pipeline.clone());
    let sink = Arc::new(store.log().sink(USER_ACTIONS).unwrap());
    let start = SystemClock.now().saturating_sub(CHAPTER);
    let chapter = Chapter::new(start).unwrap();
    let mut records = chapter.past(is_new).unwrap();
    let minute = start.saturating_add(Duration::from_secs(60));
    records.extend(chapter.items().unwrap().take_while(|(due, _)| *due < minute).map(|(_, record)| record));
    let parts = assembly.parts(Duration::ZERO, CancellationToken::new());
    let raised = Supervisor::builder().with_parts(parts).build().run_until(async {
        for outcome in sink.send(records).await {
            outcome.unwrap();
        }
        let ends = store.log().ends(USER_ACTIONS).await.unwrap();
        pipeline.reached(&ends).await.unwrap();
        store.alert_log().alerts(None, 10_000).await.unwrap()
    });
    let alerts = raised.await.unwrap();
    store.close().await;
    (start, chapter, alerts.into_iter().map(|(_, alert)| alert).collect())
}

/// Also in a directory that has been played in before.
#[tokio::test(flavor = "multi_thread")]
async fn within_a_minute_there_are_milestones_and_a_fraud() {
    let dir = tempfile::tempdir().unwrap();
    for is_new in [true, false] {
        let (start, chapter, alerts) = raised(dir.path(), is_new).await;
        let live: Vec<_> = alerts.iter().filter(|alert| alert.occurred_at >= start).collect();
        let milestone = |likes: u32| format!("milestone:{}:{likes}", chapter.photo);
        for likes in [10, 100, 1000] {
            let alert = live.iter().find(|alert| alert.id == milestone(likes)).unwrap();
            assert!(matches!(&alert.audience, Audience::User(user) if user.as_str() == USER), "{alert:?}");
        }
        let is_fraud = |alert: &&&Notification| {
            alert.kind == "FRAUD" && alert.data["postId"] == chapter.promoted.as_str()
        };
        let fraud = live.iter().find(is_fraud).unwrap_or_else(|| panic!("no fraud, new: {is_new}"));
        let farmed = fraud.data["sampleUsers"].as_array().unwrap();
        assert!(farmed.iter().any(|user| user.as_str().unwrap().starts_with("farm-")), "{farmed:?}");
        // Posts are named by the second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_others_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    check_directory(&dir.path().join("new")).await.unwrap();
    let assembly = Assembly::open(&config(dir.path())).await.unwrap();
    let sink = assembly.store.log().sink(USER_ACTIONS).unwrap();
    check_directory(dir.path()).await.unwrap();
    sink.send(vec![published_post("ann", &PostId::new("p1").unwrap(), SystemClock.now())])
        .await
        .remove(0)
        .unwrap();
    let refused = check_directory(dir.path()).await.unwrap_err();
    assert!(refused.kind() == ErrorKind::Invalid && refused.to_string().contains("1 events"), "{refused}");
    Demo::new(dir.path(), sink).unwrap();
    check_directory(dir.path()).await.unwrap();
    assembly.store.close().await;
}

#[test]
fn live_events_are_in_order_and_bear_ids() {
    let chapter = Chapter::new(SystemClock.now()).unwrap();
    let items: Vec<_> = chapter.items().unwrap().collect();
    assert!(items.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    let start = chapter.start;
    let soon = items.iter().filter(|(due, _)| due.since(start) < Duration::from_secs(2)).count();
    assert!(soon > 20, "only {soon} events in the first two seconds: the page would stand still");
    for (_, record) in &items {
        let line: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
        assert!(line["id"].is_string() && line["timestamp"].is_string(), "{line}");
    }
}
