//! Notifications: from a like at a gateway through a processor to a socket.

use feedkit_test_programs::told::{event, likes, mark, send};
use feedkit_test_programs::{Client, Process, Served, Socket, eventually, told};
use feedkit_test_services::{apply, needs_services};
use serde_json::Value;

use crate::world::{World, token};

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_likes_are_told_to_the_author_alone_and_once() {
    let world = World::new().await;
    let (gateway, _processor) = (world.gateway().await, world.processor());
    told::a_hundred_likes_are_told_to_the_author_alone_and_once(&gateway).await;
}

/// Kills the processor before it reads, while the alert is under way, and while it publishes the
/// alert.
#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_processor_that_is_killed_on_the_way_tells_it_once() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut socket = Socket::open(gateway.address, &token("ann", &[], &[])).await;
    socket.subscribe(&["me"], None).await;
    let mut wanted = Vec::new();
    for (round, kill) in kills().into_iter().enumerate() {
        let post = format!("p{round}");
        let mut processor = kill.processor(&world);
        gateway.client("ann").post("/api/events", &event("ann", &post, "post")).await.expect(202);
        send(&gateway.writer(), &likes(&post, 100)).await;
        kill.when_it_is_time(&mut processor, &world, &post).await;
        wanted.extend([format!("milestone:{post}:10"), format!("milestone:{post}:100")]);
    }
    let _processor = world.processor();
    let last = mark(&gateway, "ann", "last").await;
    let mut told = socket.ids_until(&last).await;
    wanted.push(last);
    // A new reader reads the log itself.
    told.sort();
    wanted.sort();
    assert_eq!(told, wanted);
    let moderator = Client::new(gateway.address, Some(token("mod", &["moderator"], &[])));
    let alerts = moderator.get("/api/alerts?limit=100").await.expect(200);
    let mut raised: Vec<_> = alerts["alerts"].as_array().unwrap().iter().map(|a| a["id"].clone()).collect();
    raised.sort_by_key(Value::to_string);
    assert_eq!(raised, wanted);
}

#[derive(Debug, Clone, Copy)]
enum Kill {
    /// At a named stage, by a processor that was built with failpoints.
    #[cfg(feature = "failpoints")]
    At(&'static str),
    /// Once the history has the likes, at any stage of the rest.
    Committed,
    /// At once, at any stage.
    Now,
}

fn kills() -> Vec<Kill> {
    #[cfg(feature = "failpoints")]
    {
        use feedkit_core::failpoint::stage;
        vec![
            Kill::At(stage::RELAY),
            Kill::Now,
            Kill::At(stage::ALERT_STEP),
            Kill::At(stage::AFTER_COMMIT),
            Kill::Committed,
        ]
    }
    #[cfg(not(feature = "failpoints"))]
    vec![Kill::Committed, Kill::Now, Kill::Committed]
}

impl Kill {
    fn processor(self, world: &World) -> Process {
        let mut command = world.processor_command();
        #[cfg(feature = "failpoints")]
        if let Kill::At(stage) = self {
            command.env("FEEDKIT_FAILPOINT", format!("{stage}:1"));
        }
        Process::start(&mut command)
    }

    async fn when_it_is_time(self, processor: &mut Process, world: &World, post: &str) {
        match self {
            #[cfg(feature = "failpoints")]
            Kill::At(stage) => {
                let code = processor.ended().await.status.code();
                assert_eq!(code, None, "{stage}: {}", processor.stderr());
            }
            Kill::Committed => {
                let sql = world.sql().await;
                let count = "SELECT count(*) FROM events WHERE post_id = $1 AND kind = 'like'";
                eventually("the commit", async || {
                    let row = sql.query_one(count, &[&post]).await.ok()?;
                    (row.get::<_, i64>(0) == 100).then_some(())
                })
                .await;
                processor.kill();
            }
            Kill::Now => _ = processor.kill(),
        }
    }
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_while_a_gateway_was_dead_is_told_by_another() {
    let world = World::new().await;
    let (mut first, second) = (world.gateway().await, world.gateway().await);
    let _processor = world.processor();
    let mut socket = Socket::open(first.address, &token("ann", &[], &[])).await;
    socket.subscribe(&["me"], None).await;
    let heard = mark(&first, "ann", "p").await;
    assert_eq!(socket.ids_until(&heard).await, [heard]);
    first.process.kill();
    assert!(socket.next().await.is_none(), "the socket is still open");
    let missed = mark(&second, "ann", "q").await;
    let cursor = socket.cursor.clone().unwrap();
    let mut socket = Socket::open(second.address, &token("ann", &[], &[])).await;
    assert!(socket.subscribe(&["me"], Some(&cursor)).await, "the subscription was not recovered");
    assert_eq!(socket.ids_until(&missed).await, [missed]);
    let last = mark(&second, "ann", "r").await;
    assert_eq!(socket.ids_until(&last).await, [last], "told twice");
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_like_farm_is_told_to_moderators_alone() {
    let world = World::new().await;
    let (gateway, _processor) = (world.gateway().await, world.processor());
    told::a_like_farm_is_told_to_moderators_alone(&gateway).await;
}
