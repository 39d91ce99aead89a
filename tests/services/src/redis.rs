//! A Redis server that one test starts for itself.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use redis::{FromRedisValue, RedisResult, Value};
use rustix::process::{Pid, Signal, kill_process};

use crate::free_port;

/// A Redis server that saves nothing by itself. It starts in a few milliseconds and runs until this
/// value is dropped.
#[derive(Debug)]
pub struct RedisServer {
    dir: tempfile::TempDir,
    /// Its port on this machine.
    pub port: u16,
    arguments: Vec<String>,
    child: Child,
}

impl RedisServer {
    /// Starts one with more arguments.
    pub async fn start(arguments: &[&str]) -> RedisServer {
        let arguments: Vec<_> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let mut said = String::new();
        // Another program may take the port before Redis does.
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let port = free_port();
            let child = spawn(dir.path(), port, &arguments);
            let mut server = RedisServer { dir, port, arguments: arguments.clone(), child };
            if server.is_up().await {
                return server;
            }
            said = server.said();
        }
        panic!("redis-server does not start:\n{said}");
    }

    /// Its URL for clients.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The directory of its dumps.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills it, so that it cannot save.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Starts it again at the same address, with the data of its dump if there is one.
    pub async fn start_again(&mut self) {
        self.kill();
        self.child = spawn(self.dir.path(), self.port, &self.arguments);
        assert!(self.is_up().await, "redis-server does not start again:\n{}", self.said());
    }

    /// Runs a command, given as words, and returns the answer.
    pub async fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        self.try_ask(command).await.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// All that it has printed.
    fn said(&self) -> String {
        std::fs::read_to_string(self.dir.path().join(LOG)).unwrap_or_default()
    }

    async fn try_ask<T: FromRedisValue>(&self, command: &str) -> RedisResult<T> {
        let mut connection = redis::Client::open(self.url())?.get_multiplexed_async_connection().await?;
        let mut words = command.split_whitespace();
        let mut cmd = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            cmd.arg(word);
        });
        cmd.query_async(&mut connection).await
    }

    async fn is_up(&mut self) -> bool {
        for _ in 0..3000 {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            let pong = self.try_ask::<Value>("PING").await;
            // A server with users answers that it wants one.
            if pong.is_ok() || pong.is_err_and(|error| error.code() == Some("NOAUTH")) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What it prints goes to this file in its directory.
const LOG: &str = "log";

fn spawn(dir: &Path, port: u16, arguments: &[String]) -> Child {
    let log = OpenOptions::new().create(true).append(true).open(dir.join(LOG)).unwrap();
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(dir)
        .args(arguments)
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}
