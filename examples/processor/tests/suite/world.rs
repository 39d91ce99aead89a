//! A test's own topics, database and Redis, and processors that work on them.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::SystemClock;
use feedkit_kafka::Kafka;
use feedkit_kafka::admin::{NewTopic, create_topics};
use feedkit_store::postgres::{Postgres, PostgresOptions};
use feedkit_store::redis::RedisOptions;
use feedkit_test_programs::{Ended, Process};
use feedkit_test_services::{Database, RedisServer, eventually, given, unique};
use serde_json::Value;

use crate::answers::{address, readiness};

/// How long a processor of a test may be silent before its partitions are taken away.
pub(crate) const SESSION: Duration = Duration::from_millis(1500);

/// Tests that start large services, or load the machine, run one at a time.
pub(crate) static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub(crate) struct World {
    pub(crate) events: Kafka,
    pub(crate) notifications: Kafka,
    pub(crate) database: Database,
    pub(crate) redis: RedisServer,
    /// The URLs by which the processors reach PostgreSQL and Redis.
    pub(crate) postgres_url: String,
    pub(crate) redis_url: String,
    pub(crate) config: tempfile::TempDir,
    /// More settings, as environment variables.
    pub(crate) settings: Vec<(String, String)>,
}

impl World {
    /// On the shared services, with topics of four partitions.
    pub(crate) async fn new() -> World {
        Self::with_topic(NewTopic::new(unique("events")).partitions(4)).await
    }

    /// On the shared services, with this topic.
    pub(crate) async fn with_topic(topic: NewTopic) -> World {
        let (database, redis) = (Database::new().await, RedisServer::start(&[]).await);
        Self::on(&given("FEEDKIT_TEST_KAFKA"), topic, database, redis).await
    }

    /// On these services.
    pub(crate) async fn on(broker: &str, topic: NewTopic, database: Database, redis: RedisServer) -> World {
        let events = Kafka::new(broker, &topic.name);
        let notifications = Kafka::new(broker, unique("notifications"));
        let topics = [topic, NewTopic::new(&notifications.topic).partitions(2)];
        create_topics(&events, &topics).await.unwrap();
        let (postgres_url, redis_url) = (database.url(), redis.url());
        let config = tempfile::tempdir().unwrap();
        let world = World {
            events,
            notifications,
            database,
            redis,
            postgres_url,
            redis_url,
            config,
            settings: vec![],
        };
        // Without this, members learn of the topic late, and the tests wait for them.
        world.properties(&[("topic.metadata.refresh.interval.ms", "500")]);
        world
    }

    /// Sets a variable for every processor.
    pub(crate) fn set(mut self, key: &str, value: &str) -> World {
        self.settings.push((format!("FEEDKIT_{key}"), value.to_owned()));
        self
    }

    /// Sets the properties of librdkafka for every processor.
    pub(crate) fn properties(&self, properties: &[(&str, &str)]) {
        let lines: String =
            properties.iter().map(|(key, value)| format!("\"{key}\" = \"{value}\"\n")).collect();
        std::fs::write(self.config.path().join("processor.toml"), format!("[kafka.properties]\n{lines}"))
            .unwrap();
    }

    /// The command `feedkit-processor` with the settings of this world and no others.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = bare(args);
        command.arg("--config").arg(self.config.path().join("processor.toml"));
        command
            .env("FEEDKIT_KAFKA", &self.events.bootstrap)
            .env("FEEDKIT_TOPIC", &self.events.topic)
            .env("FEEDKIT_NOTIFICATIONS", &self.notifications.topic)
            .env("FEEDKIT_GROUP", format!("group-{}", self.events.topic))
            .env("FEEDKIT_POSTGRES", &self.postgres_url)
            .env("FEEDKIT_REDIS", &self.redis_url)
            .env("FEEDKIT_LISTEN", "127.0.0.1:0")
            .env("FEEDKIT_GROUP_SESSION_TIMEOUT", format!("{}ms", SESSION.as_millis()))
            .env("FEEDKIT_GROUP_HEARTBEAT_INTERVAL", "200ms")
            .env("FEEDKIT_ALERTS_LEASE", "2s")
            .env("FEEDKIT_REDIS_RESPONSE_TIMEOUT", "5s")
            .env("FEEDKIT_SHUTDOWN_DEADLINE", "60s")
            .envs(self.settings.iter().map(|(key, value)| (key, value)));
        command
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Ended {
        Process::start(&mut self.command(args)).ended().await
    }

    /// Runs a command, which must succeed. Returns its output.
    pub(crate) async fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args).await;
        assert!(ended.status.success(), "{args:?}: {ended}");
        ended.stdout
    }

    /// Runs a command, which must succeed and print JSON.
    pub(crate) async fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[args, &["--json"]].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?} printed {text}: {e}"))
    }

    /// Runs a command, which must fail with this code. Returns its output.
    pub(crate) async fn fails(&self, code: i32, args: &[&str]) -> String {
        let ended = self.run(args).await;
        assert_eq!(ended.status.code(), Some(code), "{args:?}: {ended}");
        ended.stdout + &ended.stderr
    }

    /// Starts a processor. Returns it and the address of its HTTP server.
    pub(crate) async fn start(&self) -> (Process, SocketAddr) {
        self.start_with(&[]).await
    }

    /// The same with arguments.
    pub(crate) async fn start_with(&self, args: &[&str]) -> (Process, SocketAddr) {
        let mut process = Process::start(&mut self.command(args));
        match address(&mut process).await {
            Some(address) => (process, address),
            None => panic!("it does not run: {}", process.ended().await),
        }
    }

    /// A processor that is ready.
    pub(crate) async fn started(&self) -> (Process, SocketAddr) {
        let (process, address) = self.start().await;
        ready(address).await;
        (process, address)
    }

    /// Lets everything catch up with the end of the log, until all notifications are published.
    pub(crate) async fn catch_up(&self) {
        eventually("all is caught up with and published", async || {
            self.ok(&["--until-caught-up"]).await;
            let left = self.database.client().await.query_one("SELECT count(*) FROM outbox", &[]).await;
            left.unwrap().get::<_, i64>(0) == 0
        })
        .await;
    }

    /// The stores, reached without any proxy.
    pub(crate) async fn postgres(&self) -> Postgres {
        let mut settings = PostgresOptions::new(self.database.url());
        settings.pool_size = 4;
        (settings.connect_timeout, settings.pool_wait) = (Duration::from_secs(60), Duration::from_secs(60));
        Postgres::connect(settings, Arc::new(SystemClock)).await.unwrap()
    }

    pub(crate) async fn counters(&self) -> feedkit_store::redis::RedisCounters {
        let mut settings = RedisOptions::single(self.redis.url());
        (settings.response_timeout, settings.connect_timeout) =
            (Duration::from_secs(30), Duration::from_secs(30));
        feedkit_store::redis::Redis::connect(settings).await.unwrap().counters()
    }
}

/// The command `feedkit-processor` without any settings.
pub(crate) fn bare(args: &[&str]) -> Command {
    let mut command = feedkit_test_programs::bare(env!("CARGO_BIN_EXE_feedkit-processor"));
    command.args(args);
    command
}

/// Waits until the processor is ready.
pub(crate) async fn ready(address: SocketAddr) {
    eventually("it is ready", async || readiness(address).await.is_some_and(|(ready, _)| ready)).await;
}
