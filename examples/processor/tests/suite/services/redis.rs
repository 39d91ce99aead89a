//! A Redis of a test's own: it starts in a few milliseconds.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{free_port, skip};

/// Runs until it is dropped.
pub(crate) struct Redis {
    dir: tempfile::TempDir,
    pub(crate) port: u16,
    child: Child,
}

impl Redis {
    /// Starts one that keeps nothing on disk; `None` where Redis is not installed.
    pub(crate) async fn start() -> Option<Redis> {
        if let Err(error) = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status() {
            skip(&format!("redis-server cannot be run: {error}"));
            return None;
        }
        // Another program may take the port before Redis does.
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let port = free_port();
            let mut redis = Redis { child: spawn(dir.path(), port), dir, port };
            if redis.is_up().await {
                return Some(redis);
            }
        }
        panic!("redis-server does not start");
    }

    pub(crate) fn url(&self) -> String {
        url(self.port)
    }

    /// Ends it without a chance to save.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Starts it again at the same place, with what its dump holds, if there is one.
    pub(crate) async fn start_again(&mut self) {
        self.kill();
        self.child = spawn(self.dir.path(), self.port);
        assert!(self.is_up().await, "redis-server does not start again");
    }

    /// Where it dumps to.
    pub(crate) fn dump(&self) -> PathBuf {
        self.dir.path().join("dump.rdb")
    }

    async fn is_up(&mut self) -> bool {
        for _ in 0..3000 {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if self.try_ask::<String>("PING").await.is_ok() {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        false
    }

    /// What a command, given as words, answers.
    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, command: &str) -> T {
        self.try_ask(command).await.unwrap()
    }

    /// Puts a list in the place of whatever is there, in one step.
    pub(crate) async fn plant_list(&self, key: &str) {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut both = redis::pipe();
        both.atomic().cmd("DEL").arg(key).cmd("LPUSH").arg(key).arg("planted");
        both.exec_async(&mut connection).await.unwrap();
    }

    async fn try_ask<T: redis::FromRedisValue>(&self, command: &str) -> redis::RedisResult<T> {
        let mut connection = redis::Client::open(self.url())?.get_multiplexed_async_connection().await?;
        let mut words = command.split_whitespace();
        let mut cmd = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            cmd.arg(word);
        });
        cmd.query_async(&mut connection).await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/")
}

fn spawn(dir: &Path, port: u16) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
