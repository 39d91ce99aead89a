//! A Redis Cluster of six local servers, and what it does to counts when its masters fail over.

use std::process::{Command, Stdio};
use std::time::Duration;

use feedkit_core::counters::ChunkOutcome;
use feedkit_core::testkit::conformance::support::post;
use feedkit_core::{AnswerCache, CounterStore, Counts, ErrorKind, Partition};
use feedkit_store::redis::{Redis, RedisOptions, Role, acl_rules};
use feedkit_test_services::{
    RedisServer, apply, eventually, free_port, needs_redis_cluster, needs_redis_server,
};
use rustix::process::Signal;

use super::conformance::run_all;
use super::lists::equals_memory;
use super::support::{chunk, own_prefix, patient};
use super::world::World;

/// Three masters, each with a replica.
struct Cluster {
    nodes: Vec<RedisServer>,
}

impl Cluster {
    /// A node that is silent for `timeout` counts as failed.
    async fn start(timeout: Duration) -> Cluster {
        'again: for _ in 0..10 {
            let mut nodes = Vec::new();
            for _ in 0..6 {
                let (bus, timeout) = (free_port().to_string(), timeout.as_millis().to_string());
                let arguments = [
                    ["--cluster-enabled", "yes"],
                    ["--cluster-port", &bus],
                    ["--cluster-node-timeout", &timeout],
                    // A replica takes over however long it was cut off, as it would when its master
                    // is in a hurry.
                    ["--cluster-replica-validity-factor", "0"],
                    ["--repl-diskless-sync-delay", "0"],
                ];
                nodes.push(RedisServer::start(&arguments.concat()).await);
            }
            let cluster = Cluster { nodes };
            let created = Command::new("redis-cli")
                .args(["--cluster", "create"])
                .args(cluster.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)))
                .args(["--cluster-replicas", "1", "--cluster-yes"])
                .stdout(Stdio::null())
                .status()
                .unwrap();
            if !created.success() {
                continue 'again;
            }
            cluster.is_whole().await;
            return cluster;
        }
        panic!("no cluster can be made");
    }

    fn options(&self) -> RedisOptions {
        patient(RedisOptions::cluster(self.nodes.iter().map(RedisServer::url)))
    }

    /// Waits until all slots are served and each master has its replica.
    async fn is_whole(&self) {
        for node in &self.nodes {
            eventually("the cluster is whole", async || {
                let info: String = node.ask("CLUSTER INFO").await;
                let replication: String = node.ask("INFO replication").await;
                info.contains("cluster_state:ok")
                    && (replication.contains("state=online") || replication.contains("master_link_status:up"))
            })
            .await;
        }
    }

    /// The master of a shard and its replica, once all have heard who that is.
    async fn pair(&self, shard: &str) -> (usize, usize) {
        let mut found = None;
        eventually("a master has a replica", async || {
            found = self.pair_as_known(shard).await;
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    async fn pair_as_known(&self, shard: &str) -> Option<(usize, usize)> {
        let (mut master, mut replica) = (None, None);
        let slot: u16 = self.nodes[self.alive().await].ask(&format!("CLUSTER KEYSLOT {shard}")).await;
        let nodes: String = self.nodes[self.alive().await].ask("CLUSTER NODES").await;
        let has = |line: &str| {
            line.split(' ').skip(8).any(|range| {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                from.parse().is_ok_and(|from: u16| from <= slot) && to.parse().is_ok_and(|to: u16| slot <= to)
            })
        };
        let line = nodes.lines().find(|line| has(line))?;
        let id = line.split(' ').next()?;
        for (number, node) in self.nodes.iter().enumerate() {
            let address = format!(":{}@", node.port);
            let Some(own) = nodes.lines().find(|line| line.contains(&address)) else { continue };
            if own.starts_with(id) {
                master = Some(number);
            } else if own.contains(&format!("slave {id}")) {
                replica = Some(number);
            }
        }
        Some((master?, replica?))
    }

    async fn alive(&self) -> usize {
        for (number, node) in self.nodes.iter().enumerate() {
            if std::net::TcpStream::connect(("127.0.0.1", node.port)).is_ok() {
                return number;
            }
        }
        panic!("no node is alive");
    }
}

/// The one that the environment names, or one that the test has for itself.
async fn calm() -> (Option<Cluster>, RedisOptions) {
    if let Ok(urls) = std::env::var("FEEDKIT_TEST_REDIS_CLUSTER") {
        return (None, patient(RedisOptions::cluster(urls.split(','))));
    }
    let cluster = Cluster::start(Duration::from_secs(60)).await;
    let options = cluster.options();
    (Some(cluster), options)
}

#[apply(needs_redis_cluster!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_contracts_hold_on_a_cluster() {
    let (cluster, options) = calm().await;
    run_all(options.clone()).await;

    let apart = || {
        let mut options = options.clone();
        options.prefix = own_prefix();
        options
    };
    for seed in 0..2 {
        equals_memory(&Redis::connect(apart()).await.unwrap().counters(), seed).await;
    }

    // The program that has moved on is not needed: another one finds the place by itself.
    let here = apart();
    let a = Redis::connect(here.clone()).await.unwrap().counters();
    let b = Redis::connect(here).await.unwrap().counters();
    for i in 0..40u64 {
        let chunk = chunk(i, i + 1, &[("a", &format!("p{i}"), "like"), ("a", "p", "like")]);
        let (first, second) = if i % 3 == 0 { (&a, &b) } else { (&b, &a) };
        assert_eq!(first.apply(&chunk).await.unwrap(), ChunkOutcome::Applied, "{i}");
        assert_eq!(second.apply(&chunk).await.unwrap(), ChunkOutcome::Skipped, "{i}");
    }
    assert_eq!(a.posts(&[post("p")]).await.unwrap()[0].likes, 40);
    assert_eq!(a.fence(Partition(0)).await.unwrap().unwrap().position, 40);

    // A whole pipeline, rebuilt once.
    let world = World::new();
    let counters = Redis::connect(apart()).await.unwrap().counters();
    let running = world.start(counters.clone());
    world.send(70, 1_500).await;
    running.reached(&world).await;
    running.stop().await;
    world.check(&counters).await;
    counters.begin_rebuild().await.unwrap();
    assert_eq!(counters.top(5).await.unwrap_err().kind(), ErrorKind::Retriable);
    let running = world.start(counters.clone());
    world.send(71, 500).await;
    world.agrees(&counters).await;
    running.stop().await;

    let Some(cluster) = cluster else { return };
    keys_and_users(&cluster).await;
}

/// The names that are documented, and users with no more rights than they need.
async fn keys_and_users(cluster: &Cluster) {
    for node in &cluster.nodes {
        for (name, role) in [("processor", Role::Processor), ("gateway", Role::Gateway)] {
            node.ask::<()>(&format!("ACL SETUSER {name} on >secret {}", acl_rules(role, true))).await;
        }
    }
    let user = |name: &str| {
        let url = |node: &RedisServer| format!("redis://{name}:secret@127.0.0.1:{}/", node.port);
        patient(RedisOptions::cluster(cluster.nodes.iter().map(url)))
    };
    let processor = Redis::connect(user("processor")).await.unwrap();
    let gateway = Redis::connect(user("gateway")).await.unwrap();
    let world = World::new();
    let running = world.start(processor.counters());
    world.send(72, 800).await;
    running.reached(&world).await;
    running.stop().await;
    processor.counters().begin_rebuild().await.unwrap();
    let running = world.start(processor.counters());
    world.send(73, 100).await;
    world.agrees(&gateway.counters()).await;
    running.stop().await;
    assert!(gateway.counters().begin_rebuild().await.is_err());
    assert!(processor.cache().get("k").await.is_err());
    gateway.cache().put("k", "v".into(), Duration::from_secs(60)).await.unwrap();

    let mut keys: Vec<String> = Vec::new();
    for node in &cluster.nodes {
        keys.extend(node.ask::<Vec<String>>("KEYS {fk*").await);
    }
    for name in ["top_posts", "trending_posts", "feedkit:state", "feedkit:fences", "feedkit:home"] {
        assert!(keys.iter().any(|key| key[5..] == format!("}}:{name}")), "{name} is not among {keys:?}");
    }
    assert!(keys.iter().any(|key| key[5..].starts_with("}:post:") && key.ends_with(":likes")), "{keys:?}");
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn counts_are_exact_over_failovers_that_lose_writes() {
    let mut cluster = Cluster::start(Duration::from_secs(2)).await;
    let mut options = cluster.options();
    options.response_timeout = Duration::from_secs(2);
    let counters = Redis::connect(options.clone()).await.unwrap().counters();
    let world = World::new();
    let running = world.start(counters.clone());
    world.send(80, 1_500).await;
    running.reached(&world).await;
    world.check(&counters).await;

    // In good order, under traffic.
    let (_, replica) = cluster.pair("{fk00}").await;
    let sender = world.clone();
    let sending = tokio::spawn(async move { sender.send(81, 3_000).await });
    cluster.nodes[replica].ask::<()>("CLUSTER FAILOVER").await;
    sending.await.unwrap();
    world.agrees(&counters).await;
    cluster.is_whole().await;

    // With writes that only the master had: its replica hears nothing while they are made, then the
    // master dies.
    for (seed, shard) in [(82, "{fk00}"), (83, "{fk01}"), (84, "{fk05}")] {
        let (master, replica) = cluster.pair(shard).await;
        cluster.nodes[replica].signal(Signal::STOP);
        cluster.nodes[master].ask::<i64>("CLIENT KILL TYPE replica").await;
        world.send(seed, 1_000).await;
        running.reached(&world).await;
        cluster.nodes[master].ask::<()>(&format!("SET {shard}:marker x")).await;
        cluster.nodes[master].kill();
        cluster.nodes[replica].signal(Signal::CONT);
        eventually("the replica takes over", async || {
            cluster.nodes[replica].ask::<String>("INFO replication").await.contains("role:master")
        })
        .await;
        eventually("the new master serves", async || {
            cluster.nodes[replica].ask::<String>("CLUSTER INFO").await.contains("cluster_state:ok")
        })
        .await;
        let marker: Option<String> = cluster.nodes[replica].ask(&format!("GET {shard}:marker")).await;
        assert_eq!(marker, None, "nothing was lost, so nothing is shown");
        // Nothing new comes: it is noticed all the same.
        world.agrees(&counters).await;
        world.send(seed + 100, 300).await;
        world.agrees(&counters).await;
        cluster.nodes[master].start_again().await;
        cluster.is_whole().await;
    }

    // A master that comes back empty, with no replica that had taken over in time.
    let (master, _) = cluster.pair("{fk00}").await;
    cluster.nodes[master].ask::<()>("FLUSHALL").await;
    world.agrees(&counters).await;
    world.send(99, 500).await;
    world.agrees(&counters).await;
    running.stop().await;
    world.check(&Redis::connect(options).await.unwrap().counters()).await;
}
