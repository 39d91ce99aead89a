//! Both servers with encrypted connections to PostgreSQL and Redis, and with a Redis Cluster.

use std::path::Path;
use std::process::Command;

use feedkit_test_programs::told::{likes, send};
use feedkit_test_programs::{Client, Served, eventually, said};
use feedkit_test_services::{
    PostgresServer, RedisServer, apply, certify, free_port, needs_openssl, needs_postgres_server,
    needs_services,
};

use crate::programs::output;
use crate::world::World;

/// Likes pass through both servers and can be read.
async fn works(world: &World, post: &str) {
    let (gateway, _processor) = (world.gateway().await, world.processor());
    gateway.is("ready", None).await;
    send(&gateway.writer(), &likes(post, 10)).await;
    let reader = Client::new(gateway.address, None);
    eventually("the counts", async || {
        let shown = reader.get(&format!("/api/posts/{post}")).await.body;
        (shown["likes"] == 10 && shown["source"] == "counters").then_some(())
    })
    .await;
    eventually("the history", async || {
        let shown = reader.get(&format!("/api/posts/{post}/activity?by=day")).await.body;
        (shown["buckets"][0]["counts"]["like"] == 10).then_some(())
    })
    .await;
}

#[apply(needs_services!)]
#[apply(needs_postgres_server!)]
#[apply(needs_openssl!)]
#[tokio::test(flavor = "multi_thread")]
async fn both_servers_speak_tls() {
    let mut world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    certify(dir.path(), "server");
    let prepare = |data: &Path| {
        use std::os::unix::fs::PermissionsExt;
        for (from, to) in [("server.pem", "server.crt"), ("server.key", "server.key")] {
            std::fs::copy(dir.path().join(from), data.join(to)).unwrap();
        }
        std::fs::set_permissions(data.join("server.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust\n").unwrap();
    };
    let postgres = PostgresServer::start_with("-c ssl=on", prepare);
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let tls_port = free_port().to_string();
    let arguments = [
        ["--tls-port", &tls_port],
        ["--tls-cert-file", &path("server.pem")],
        ["--tls-key-file", &path("server.key")],
        ["--tls-ca-cert-file", &path("server-ca.pem")],
        ["--tls-auth-clients", "no"],
    ];
    let _redis = RedisServer::start(&arguments.concat()).await;
    world.postgres = postgres.url();
    world.redis_url = format!("rediss://localhost:{tls_port}");
    world.arguments = ["--postgres-tls", "require", "--postgres-ca-file", &path("server-ca.pem")]
        .into_iter()
        .chain(["--redis-ca-file", &path("server-ca.pem")])
        .map(str::to_owned)
        .collect();
    works(&world, "p").await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn both_servers_run_on_a_redis_cluster() {
    let mut world = World::new().await;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let bus = free_port().to_string();
        let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        let node = RedisServer::start(&arguments).await;
        nodes.push(node);
    }
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]).args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
    create.args(["--cluster-replicas", "0", "--cluster-yes"]);
    let created = output(create).await;
    assert!(created.status.success(), "{}", said(&created));
    for node in &nodes {
        eventually("the cluster", async || {
            let info: String = node.ask("CLUSTER INFO").await;
            info.contains("cluster_state:ok").then_some(())
        })
        .await;
    }
    world.redis_url = nodes.iter().map(RedisServer::url).collect::<Vec<_>>().join(",");
    world.arguments = ["--redis-cluster"].map(str::to_owned).to_vec();
    works(&world, "p").await;
}
