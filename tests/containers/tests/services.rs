//! `scripts/services up --docker`, as a developer of feedkit uses it. It needs a Docker engine, and
//! the images or the stand-ins that `scripts/services.d/stand-in-images make` builds, so it runs
//! only on request:
//!
//! ```console
//! $ cargo test --manifest-path tests/containers/Cargo.toml -- --ignored
//! ```

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use redis::Commands;
use redis::cluster::ClusterClient;

const VARIABLES: [&str; 4] =
    ["FEEDKIT_TEST_KAFKA", "FEEDKIT_TEST_POSTGRES", "FEEDKIT_TEST_REDIS", "FEEDKIT_TEST_REDIS_CLUSTER"];

/// Longer than any of it takes; nothing waits that long unless it is broken.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
#[ignore = "needs a Docker engine and images: see the head of this file"]
async fn all_services_come_up_answer_and_leave_nothing() {
    let services = Services::new();
    services.run(&["up", "--docker"]).succeeds();
    let [kafka, postgres, redis, cluster] = services.addresses();
    kafka_keeps_records(&kafka).await;
    postgres_answers_to_its_password(&postgres).await;
    redis_keeps_values(&redis);
    cluster_keeps_values(&cluster);

    let containers = services.containers();
    assert_eq!(containers.len(), 4, "one container a service: {containers:?}");
    for place in containers.iter().flat_map(|container| published(container)) {
        assert!(place.starts_with("127.0.0.1:"), "published on {place}");
    }
    let status = services.run(&["status"]).succeeds();
    assert_eq!(status.lines().filter(|line| line.contains(" up ")).count(), 4, "{status}");

    services.run(&["up", "--docker"]).succeeds();
    assert_eq!(services.containers(), containers, "a second start changes nothing");
    redis_keeps_values(&redis);

    let volumes: Vec<_> = containers.iter().flat_map(|container| volumes(container)).collect();
    services.run(&["down", "--only", "kafka"]).succeeds();
    assert_eq!(services.containers().len(), 3);
    let status = services.run(&["status"]).fails_with(1);
    assert!(status.contains("kafka     down"), "{status}");

    services.run(&["down"]).succeeds();
    assert_eq!(services.containers(), BTreeSet::new());
    assert!(!services.dir().exists());
    let left = docker(&["volume", "ls", "--quiet"]);
    assert!(!volumes.iter().any(|volume| left.contains(volume)), "of {volumes:?} there still are {left}");
}

#[test]
#[ignore = "needs a Docker engine and images: see the head of this file"]
fn a_container_that_ended_is_replaced_and_others_are_left_alone() {
    let (ours, theirs) = (Services::new(), Services::new());
    let up = ["up", "--docker", "--only", "redis"];
    ours.run(&up).succeeds();
    theirs.run(&up).succeeds();
    let (first, other) = (ours.containers(), theirs.containers());
    docker(&["kill", first.first().unwrap()]);
    ours.run(&["status", "--only", "redis"]).fails_with(1);

    ours.run(&up).succeeds();
    let second = ours.containers();
    assert_eq!(second.len(), 1, "the one that ended is gone");
    assert_ne!(second, first);
    ours.run(&["down"]).succeeds();
    assert_eq!(theirs.containers(), other);
    theirs.run(&["status", "--only", "redis"]).succeeds();
}

#[test]
#[ignore = "needs docker, though no engine: see the head of this file"]
fn without_an_engine_it_says_where_it_looked_and_what_else_there_is() {
    let services = Services::new();
    let mut command = services.command(&["up", "--docker"]);
    let nowhere = format!("unix://{}/no-engine.sock", services.place.path().display());
    let output = command.env("DOCKER_HOST", &nowhere).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains(&format!("no Docker engine answers at {nowhere}")), "{told}");
    assert!(told.contains("without --docker, services are started natively"), "{told}");
}

async fn kafka_keeps_records(address: &str) {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address)
        .set("group.id", "containers")
        .set("auto.offset.reset", "earliest");
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let topic = NewTopic::new("records", 2, TopicReplication::Fixed(1));
    let created = admin.create_topics([&topic], &AdminOptions::new().operation_timeout(Some(DEADLINE))).await;
    created.unwrap().remove(0).unwrap();

    // A transaction: the broker then talks to itself, at the address that it tells to clients.
    let producer: FutureProducer = config.clone().set("transactional.id", "containers").create().unwrap();
    use rdkafka::producer::Producer;
    producer.init_transactions(DEADLINE).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(FutureRecord::to("records").key("k").payload("v"), DEADLINE).await.unwrap();
    producer.commit_transaction(DEADLINE).unwrap();

    let consumer: StreamConsumer = config.set("isolation.level", "read_committed").create().unwrap();
    consumer.subscribe(&["records"]).unwrap();
    let message = tokio::time::timeout(DEADLINE, consumer.recv()).await.unwrap().unwrap();
    assert_eq!((message.key(), message.payload()), (Some(&b"k"[..]), Some(&b"v"[..])));

    // What scripts/services.d/kafka.properties says holds here, too.
    let unknown = consumer.fetch_metadata(Some("misspelt"), DEADLINE).unwrap();
    assert!(unknown.topics()[0].error().is_some(), "topics make themselves");
}

async fn postgres_answers_to_its_password(url: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let row = client.query_one("SELECT current_setting('fsync'), current_setting('max_connections'), 1", &[]);
    let row = row.await.unwrap();
    assert_eq!((row.get(0), row.get(1), row.get(2)), ("on", "200", 1));
    client.batch_execute("CREATE DATABASE others").await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();

    let (before, after) = url.split_once('@').unwrap();
    let (user, _) = before.rsplit_once(':').unwrap();
    let refused = tokio_postgres::connect(&format!("{user}:wrong@{after}"), tokio_postgres::NoTls).await;
    assert!(refused.is_err(), "any password will do");
}

fn redis_keeps_values(url: &str) {
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    let pong: String = redis::cmd("PING").query(&mut connection).unwrap();
    assert_eq!(pong, "PONG");
    let _: () = connection.set("k", "v").unwrap();
    assert_eq!(connection.get::<_, String>("k").unwrap(), "v");
}

/// Enough keys that each master has some.
fn cluster_keeps_values(urls: &str) {
    let client = ClusterClient::new(urls.split(',')).unwrap();
    let mut connection = client.get_connection().unwrap();
    for n in 0..100 {
        let _: () = connection.set(format!("k{n}"), n).unwrap();
    }
    for n in 0..100 {
        assert_eq!(connection.get::<_, i32>(format!("k{n}")).unwrap(), n);
    }
}

/// The services of a folder of their own, taken down at the end also of a test that fails.
struct Services {
    place: tempfile::TempDir,
}

impl Services {
    fn new() -> Self {
        Services { place: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> PathBuf {
        self.place.path().canonicalize().unwrap().join("services")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/services");
        let mut command = Command::new(script);
        command.args(arguments).arg("--dir").arg(self.dir());
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let began = Instant::now();
        let output = self.command(arguments).output().unwrap();
        println!("scripts/services {} (in {:?})", arguments.join(" "), began.elapsed());
        Ran { arguments: arguments.join(" "), output }
    }

    /// What `env` says, as a shell understands it.
    fn addresses(&self) -> [String; 4] {
        let lines = self.run(&["env"]).succeeds();
        VARIABLES.map(|variable| {
            let script = format!("{lines}\nprintf %s \"${variable}\"");
            let output = Command::new("bash").args(["-c", &script]).env_remove(variable).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        })
    }

    /// The containers of this folder, running or not.
    fn containers(&self) -> BTreeSet<String> {
        let label = format!("label=feedkit.services.dir={}", self.dir().display());
        docker(&["ps", "--all", "--quiet", "--filter", &label]).lines().map(str::to_owned).collect()
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if self.dir().exists() {
            let _ = self.command(&["down"]).status();
        }
    }
}

struct Ran {
    arguments: String,
    output: Output,
}

impl Ran {
    fn succeeds(self) -> String {
        self.fails_with(0)
    }

    fn fails_with(self, code: i32) -> String {
        let told = String::from_utf8_lossy(&self.output.stderr);
        assert_eq!(self.output.status.code(), Some(code), "scripts/services {}: {told}", self.arguments);
        String::from_utf8(self.output.stdout).unwrap()
    }
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {}: {told}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// Where the ports of a container are published.
fn published(container: &str) -> Vec<String> {
    let lines = docker(&["port", container]);
    let places = lines.lines().filter_map(|line| line.split_once(" -> "));
    places.map(|(_, place)| place.to_owned()).collect()
}

fn volumes(container: &str) -> Vec<String> {
    let format = r#"{{range .Mounts}}{{println .Name}}{{end}}"#;
    docker(&["inspect", "--format", format, container]).split_whitespace().map(str::to_owned).collect()
}
