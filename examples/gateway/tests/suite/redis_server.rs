//! A Redis of a test's own, to be killed as it likes.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::http::eventually;
use crate::support::skip;

/// Runs until it is dropped.
pub struct RedisServer {
    dir: tempfile::TempDir,
    pub port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    pub async fn start() -> Option<RedisServer> {
        Self::with(Vec::new()).await
    }

    pub async fn with(arguments: Vec<String>) -> Option<RedisServer> {
        let mut server = Self::away(arguments)?;
        server.come().await;
        Some(server)
    }

    /// One that does not run yet.
    pub fn away(arguments: Vec<String>) -> Option<RedisServer> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            skip("redis-server cannot be run");
            return None;
        }
        Some(RedisServer { dir: tempfile::tempdir().unwrap(), port: free_port(), arguments, child: None })
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it, with nothing in it.
    pub async fn come(&mut self) {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(self.dir.path())
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
        eventually("Redis", async || self.try_ask::<String>(&["PING"]).await).await;
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What a command answers.
    pub async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).await.unwrap_or_else(|| panic!("{words:?}: no answer"))
    }

    async fn try_ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> Option<T> {
        let client = redis::Client::open(self.url()).unwrap();
        let connecting = client.get_multiplexed_async_connection();
        let mut connection = tokio::time::timeout(Duration::from_secs(10), connecting).await.ok()?.ok()?;
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.ok()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
