//! A test's own topics, database and Redis, and the two servers on them.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Mutex;

use feedkit_test_programs::{Client, Process, Served, bare, claims, eventually, said};
use feedkit_test_services::{DEADLINE, Database, RedisServer, given, unique};
use serde_json::Value;
use tokio_postgres::Client as Sql;

use crate::programs::{self, gateway, output};

const SECRET: &str = "a secret that is long enough for tests";

/// The services of a test.
pub struct World {
    dir: tempfile::TempDir,
    pub kafka: String,
    pub name: String,
    /// The URLs that the servers get.
    pub postgres: String,
    pub redis_url: String,
    /// More arguments for both servers.
    pub arguments: Vec<String>,
    pub redis: RedisServer,
    processor: String,
    database: Database,
}

impl World {
    /// On the services that all tests share, with topics and a Redis of its own.
    pub async fn new() -> World {
        let world = Self::on(given("FEEDKIT_TEST_KAFKA")).await;
        world.create_topics().await;
        world
    }

    /// The same on a broker that the test has for itself. The topics are not created yet.
    pub async fn on(kafka: String) -> World {
        let (server, processor) = (given("FEEDKIT_TEST_POSTGRES"), programs::processor());
        let redis = RedisServer::start(&[]).await;
        let (name, database) = (unique("gw"), Database::on(&server).await);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), SECRET).unwrap();
        World {
            dir,
            kafka,
            postgres: database.url(),
            redis_url: redis.url(),
            arguments: Vec::new(),
            name,
            redis,
            processor,
            database,
        }
    }

    /// Creates the topics by the processor's own command.
    pub async fn create_topics(&self) {
        let mut command = self.processor_command();
        command.args(["create-topics", "--partitions", "3", "--retention", "1h"]);
        let made = output(command).await;
        assert!(made.status.success(), "{}", said(&made));
    }

    fn services(&self, command: &mut Command) {
        let notifications = format!("{}-notifications", self.name);
        command.args(["--kafka", &self.kafka, "--topic", &self.name, "--notifications", &notifications]);
        command.args(["--postgres", &self.postgres, "--redis", &self.redis_url]);
        command.args(["--postgres-pool-size", "4"]).args(&self.arguments);
    }

    pub fn gateway_command(&self) -> Command {
        let mut command = gateway();
        self.services(&mut command);
        command.args(["--listen", "127.0.0.1:0", "--rate-limit", "0"]);
        command.arg("--jwt-secret-file").arg(self.dir.path().join("secret"));
        command
    }

    /// A gateway without limits, once it listens.
    pub async fn gateway(&self) -> Gateway {
        self.gateway_with(&[]).await
    }

    pub async fn gateway_with(&self, arguments: &[&str]) -> Gateway {
        // A flag may be given only once: the last one does not override others.
        let mut command = gateway();
        self.services(&mut command);
        command.args(["--listen", "127.0.0.1:0"]);
        for (flag, value) in [("--rate-limit", "0"), ("--jwt-secret-file", &self.secret_file())] {
            if !arguments.iter().any(|a| *a == flag || (flag.starts_with("--jwt") && *a == "--jwt-algorithm"))
            {
                command.args([flag, value]);
            }
        }
        Gateway::start(command.args(arguments)).await
    }

    pub fn secret_file(&self) -> String {
        self.dir.path().join("secret").to_str().unwrap().to_owned()
    }

    pub fn processor_command(&self) -> Command {
        let mut command = bare(&self.processor);
        self.services(&mut command);
        command.args(["--listen", "127.0.0.1:0", "--group", &self.name]);
        // A processor that was killed is noticed soon.
        command.args(["--group-session-timeout", "3s", "--group-heartbeat-interval", "300ms"]);
        command
    }

    pub fn processor(&self) -> Process {
        Process::start(&mut self.processor_command())
    }

    /// Runs a processor up to the current end of the log.
    pub async fn catch_up(&self) {
        let mut command = self.processor_command();
        command.args(["--until-caught-up", "--json"]);
        let caught_up = tokio::time::timeout(DEADLINE * 2, output(command)).await.unwrap();
        assert!(caught_up.status.success(), "{}", said(&caught_up));
    }

    /// A connection to the database, beside those of the servers.
    pub async fn sql(&self) -> Sql {
        self.database.client().await
    }
}

/// A gateway that listens.
pub struct Gateway {
    pub process: Process,
    pub address: SocketAddr,
    /// Its last answer about readiness.
    seen: Mutex<String>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- its last readiness was {}", self.seen.lock().unwrap());
        }
    }
}

impl Gateway {
    pub async fn start(command: &mut Command) -> Gateway {
        const MARK: &str = "listening on http://";
        let mut process = Process::start(command);
        // The line is complete when something follows it.
        let said = loop {
            let said = process.says(MARK).await;
            if said.split_once(MARK).is_some_and(|(_, rest)| rest.contains('\n')) {
                break said;
            }
            tokio::task::yield_now().await;
        };
        let (_, rest) = said.split_once(MARK).unwrap();
        let end = rest.find(|c: char| !c.is_ascii_digit() && !".:[]".contains(c)).unwrap_or(rest.len());
        Gateway { process, address: rest[..end].parse().unwrap(), seen: Mutex::default() }
    }

    /// Waits until readiness is this, with a component in this condition.
    pub async fn is(&self, status: &str, component: Option<(&str, &str)>) -> Value {
        let client = Client::new(self.address, None);
        eventually(&format!("{status} {component:?}"), async || {
            let answer = client.get("/health/ready").await;
            *self.seen.lock().unwrap() = answer.body.to_string();
            let components = answer.body["components"].as_array().cloned().unwrap_or_default();
            let fits = component.is_none_or(|(name, condition)| {
                components.iter().any(|c| c["name"] == name && c["condition"] == condition)
            });
            let code = if status == "unready" { 503 } else { 200 };
            (answer.body["status"] == status && fits && answer.status == code).then_some(answer.body)
        })
        .await
    }
}

impl Served for Gateway {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn token(&self, user: &str, roles: &[&str], scopes: &[&str]) -> String {
        token(user, roles, scopes)
    }
}

/// A token, signed with the secret of the gateways.
pub fn token(user: &str, roles: &[&str], scopes: &[&str]) -> String {
    feedkit_test_programs::token(SECRET, &claims(user, roles, scopes))
}
