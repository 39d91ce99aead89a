//! State that gateways share through Redis.

use crate::world::World;
use feedkit_test_programs::told::{event, likes, send};
use feedkit_test_programs::{Client, Served, eventually};
use feedkit_test_services::{apply, needs_services};

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_for_all_gateways_together() {
    let world = World::new().await;
    let gateways = [
        world.gateway_with(&["--rate-limit", "20"]).await,
        world.gateway_with(&["--rate-limit", "20"]).await,
    ];
    let clients: Vec<_> = gateways.iter().map(|gateway| gateway.client("ann")).collect();
    let tries = (0..60).map(|n| {
        let client = &clients[n % 2];
        async move { client.post("/api/events", &event("ann", "p", "comment")).await }
    });
    let mut taken = 0;
    for answer in futures_util::future::join_all(tries).await {
        match answer.status.as_u16() {
            202 => taken += 1,
            429 => assert!(answer.headers.contains_key("retry-after"), "{answer:?}"),
            other => panic!("{other}: {}", answer.body),
        }
    }
    // The allowance refills while the test runs, by one every three seconds.
    assert!((20..40).contains(&taken), "{taken} were taken of 20 a minute");
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_one_gateway_has_computed_the_other_need_not() {
    let world = World::new().await;
    let arguments = ["--rate-limit", "0", "--cache-ttl", "10m"];
    let (first, second) = (world.gateway_with(&arguments).await, world.gateway_with(&arguments).await);
    let _processor = world.processor();
    send(&first.writer(), &likes("p", 10)).await;
    eventually("the history", async || {
        let sql = world.sql().await;
        let row = sql.query_opt("SELECT sum(count)::bigint FROM post_hourly", &[]).await.ok()??;
        (row.get::<_, Option<i64>>(0) == Some(10)).then_some(())
    })
    .await;
    let path = "/api/posts/p/activity?by=hour";
    let ask = async |address| Client::new(address, None).get(path).await.expect(200);
    let answer = ask(first.address).await;
    assert_eq!(answer["buckets"][0]["counts"]["like"], 10, "{answer}");
    // The history has changed since the cached answer.
    eventually("it is kept", async || {
        let keys: Vec<String> = world.redis.ask("KEYS feedkit:*cache*").await;
        (!keys.is_empty()).then_some(())
    })
    .await;
    world.sql().await.batch_execute("UPDATE post_hourly SET count = 99").await.unwrap();
    assert_eq!(ask(second.address).await, answer);
}
