//! Clients that come and go while notifications are published: each hears all, once, in order.

use std::time::Duration;

use feedkit_core::notification::Notification;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::socket::Socket;
use super::world::{Served, World, post, user};

const COUNT: usize = 600;

const CHANNELS: [&str; 3] = ["me", "post:p1", "post:p2"];

/// Publishes notifications of three audiences, in bursts.
async fn publish(world: World, mut random: ChaCha8Rng) {
    let mut next = 0;
    while next < COUNT {
        let end = COUNT.min(next + random.random_range(1..20));
        let some = (next..end).map(|i| match random.random_range(0..4) {
            0 => (user("u1"), format!("me {i}")),
            1 => (post("p1"), format!("p1 {i}")),
            2 => (post("p2"), format!("p2 {i}")),
            _ => (user("u2"), format!("not ours {i}")),
        });
        let some: Vec<_> = some.collect();
        world.publish(some).await;
        next = end;
        if random.random_bool(0.7) {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..4))).await;
        }
    }
    for (audience, id) in [(user("u1"), "me last"), (post("p1"), "p1 last"), (post("p2"), "p2 last")] {
        world.tell(audience, id).await;
    }
}

/// Hears until all three channels have said their last; now and then it leaves and comes back, to
/// any gateway.
async fn hear_all(gateways: &[Served], mut cursor: String, mut random: ChaCha8Rng) -> Vec<String> {
    let mut heard = Vec::new();
    let mut lasts = 0;
    while lasts < 3 {
        let gateway = &gateways[random.random_range(0..gateways.len())];
        let mut socket: Socket = gateway.socket("u1").await;
        let subscribed = socket.subscribe(&CHANNELS, Some(&cursor)).await;
        assert_eq!(subscribed["recovered"], true);
        cursor = subscribed["cursor"].as_str().unwrap().to_owned();
        for _ in 0..random.random_range(0..60) {
            if random.random_bool(0.05) {
                socket.say(serde_json::json!({"type": "ping"})).await;
            }
            let frame = socket.hear().await;
            cursor = frame["cursor"].as_str().unwrap().to_owned();
            if frame["type"] == "notification" {
                let id = frame["notification"]["id"].as_str().unwrap();
                lasts += usize::from(id.ends_with("last"));
                heard.push(id.to_owned());
            }
            if lasts == 3 {
                break;
            }
        }
    }
    heard
}

/// The ids in the log, those of each partition in order.
fn published(world: &World) -> Vec<String> {
    let partitions = world.log.ends();
    let records = partitions.iter().flat_map(|(partition, _)| world.log.records(partition));
    let id = |record: feedkit_core::source::Record| {
        serde_json::from_slice::<Notification>(&record.value).unwrap().id
    };
    records.map(id).collect()
}

async fn run(seed: u64) {
    println!("seed {seed}");
    let world = World::new();
    let configure = |tail: usize| {
        move |options: &mut feedkit_http::GatewayOptions| {
            options.live.tail = tail;
            options.live.max_clients_of_user = 1000;
            options.live.max_frames = 10_000;
        }
    };
    let gateways = [
        world.serve(configure(10_000)).await,
        world.serve(configure(8)).await,
        world.serve(configure(0)).await,
    ];
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let start = gateways[0].socket("u1").await.subscribe(&CHANNELS, None).await;
    let start = start["cursor"].as_str().unwrap();
    let mut fork = || ChaCha8Rng::seed_from_u64(random.random());
    let publishing = publish(world.clone(), fork());
    let listeners = [(); 4].map(|()| hear_all(&gateways, start.to_owned(), fork()));
    let hearing = futures_util::future::join_all(listeners);
    let (all, ()) = tokio::join!(hearing, publishing);
    let published = published(&world);
    for heard in all {
        for channel in ["me", "p1", "p2"] {
            let of =
                |ids: &[String]| ids.iter().filter(|id| id.starts_with(channel)).cloned().collect::<Vec<_>>();
            assert_eq!(of(&heard), of(&published), "seed {seed}");
        }
    }
    let from_log: f64 = gateways.iter().map(|g| g.metric("feedkit_live_recoveries_total", "log")).sum();
    let from_tail: f64 = gateways.iter().map(|g| g.metric("feedkit_live_recoveries_total", "tail")).sum();
    println!("recoveries: {from_tail} from memory, {from_log} from the log");
    assert!(from_log > 0.0 && from_tail > 0.0);
}

#[tokio::test]
async fn nothing_is_lost_or_comes_twice_over_reconnects() {
    for seed in 1..=3 {
        run(seed).await;
    }
}

/// The same with tasks that truly run at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_comes_twice_on_several_threads() {
    run(rand::rng().random()).await;
}
