//! `after=POSITION`: a client reads its own write through two processes.

use crate::world::World;
use feedkit_test_programs::told::event;
use feedkit_test_programs::{Client, Served};
use feedkit_test_services::{apply, needs_services};

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_read_sees_the_write_that_it_names() {
    let world = World::new().await;
    let gateway = world.gateway_with(&["--rate-limit", "0", "--after-deadline", "60s"]).await;
    let other = world.gateway_with(&["--rate-limit", "0", "--after-deadline", "60s"]).await;
    let _processor = world.processor();
    let readers = [&gateway, &other].map(|gateway| Client::new(gateway.address, None));
    for n in 1..=30_usize {
        let user = format!("fan-{n}");
        let written = gateway.client(&user).post("/api/events", &event(&user, "p", "like")).await.expect(202);
        let position = written["position"].as_str().unwrap();
        let reader = &readers[n % 2];
        let shown = reader.get(&format!("/api/posts/p?after={position}")).await.expect(200);
        assert_eq!(shown["likes"], n, "{shown}");
        let path = format!("/api/posts/p/activity?by=hour&after={position}");
        let activity = reader.get(&path).await.expect(200);
        assert_eq!(activity["buckets"][0]["counts"]["like"], n, "{activity}");
        let comments = reader.get(&format!("/api/posts/p/comments?after={position}")).await;
        comments.expect(200);
    }
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_does_not_have_is_not_waited_for() {
    let world = World::new().await;
    // A request that waits for the deadline waits longer than the test.
    let gateway = world.gateway_with(&["--after-deadline", "300s"]).await;
    let written = gateway.client("ann").post("/api/events", &event("ann", "p", "like")).await.expect(202);
    let position = written["position"].as_str().unwrap();
    let (partition, offset) = position.split_once(':').unwrap();
    let beyond = format!("{partition}:{}", offset.parse::<u64>().unwrap() + 1);
    let reader = Client::new(gateway.address, None);
    for after in [&beyond, "99:1", "0:18446744073709551615", "0:18446744073709551616", "x"] {
        let answer = reader.get(&format!("/api/posts/p?after={after}")).await;
        let refused = matches!(answer.status.as_u16(), 400 | 422);
        assert!(refused && answer.body["field"] == "after", "{after}: {answer:?}");
    }
    assert_eq!(reader.get(&format!("/api/posts/p?after={beyond}")).await.status, 422);
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_visible_in_time_is_answered_504() {
    let world = World::new().await;
    // No processor runs.
    let gateway = world.gateway_with(&["--after-deadline", "1s"]).await;
    let written = gateway.client("ann").post("/api/events", &event("ann", "p", "like")).await.expect(202);
    let position = written["position"].as_str().unwrap();
    let reader = Client::new(gateway.address, None);
    let late = reader.get(&format!("/api/posts/p?after={position}")).await;
    assert!(late.headers.contains_key("retry-after") && late.body["age"].is_number(), "{late:?}");
    late.expect(504);
}
