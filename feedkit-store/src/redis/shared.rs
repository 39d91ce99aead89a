//! The connections, key names and knowledge that all parts of one Redis share.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use feedkit_core::{Error, Partition, Result};
use parking_lot::Mutex;
use redis::{Cmd, Value};
use tokio::sync::OnceCell;

use super::connection::{Connections, To};
use super::keys::Keyspace;
use super::options::RedisOptions;
use super::script::Script;
use super::server_check;
use super::view::View;

/// The state that all parts of one [`Redis`](super::Redis) share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: RedisOptions,
    pub(super) keys: Keyspace,
    pub(super) connections: Connections,
    /// Set when the server has passed the check.
    checked: OnceCell<()>,
    /// Distinguishes this program's rebuilds from those of others.
    pub(super) owner: String,
    /// The rebuild that this program runs.
    pub(super) rebuild: Mutex<Option<OwnRebuild>>,
    /// The last known fences of a cluster's shards, by partition.
    pub(super) views: Mutex<HashMap<Partition, View>>,
}

/// A rebuild that this program runs.
#[derive(Debug)]
pub(super) struct OwnRebuild {
    pub(super) token: u64,
    /// The number of loads by shard.
    pub(super) loads: Vec<u64>,
}

impl Shared {
    /// Prepares to connect as `options` say.
    pub(super) fn new(options: RedisOptions) -> Result<Shared> {
        Ok(Shared {
            connections: Connections::new(&options)?,
            keys: Keyspace::new(&options.prefix, options.cluster),
            options,
            checked: OnceCell::new(),
            // A hasher's keys are random.
            owner: format!("{:016x}", std::hash::RandomState::new().build_hasher().finish()),
            rebuild: Mutex::default(),
            views: Mutex::default(),
        })
    }

    /// Checks the server once.
    pub(super) async fn check(&self, deadline: Duration) -> Result<()> {
        if self.checked.initialized() {
            return Ok(());
        }
        let look = self
            .checked
            .get_or_try_init(|| server_check::check(&self.connections, self.options.cluster, deadline));
        // Another caller, whose check this one waits for, may have a longer deadline.
        match tokio::time::timeout(2 * deadline, look).await {
            Ok(looked) => looked.map(drop),
            Err(_) => Err(Error::retriable("checking Redis: it did not answer in time")),
        }
    }

    /// Sends a command to the server that has `key`.
    pub(super) async fn send(&self, doing: &str, command: Cmd, key: &str) -> Result<Value> {
        self.check(self.options.response_timeout).await?;
        self.connections.send(doing, command, To::Key(key)).await
    }

    /// Runs a script on the server that has `key`.
    pub(super) async fn run(
        &self,
        script: &Script,
        key: &str,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Value> {
        self.run_within(script, key, self.options.response_timeout, arguments).await
    }

    /// Runs a script on the server that has `key`, and waits for its answer at most for `deadline`.
    pub(super) async fn run_within(
        &self,
        script: &Script,
        key: &str,
        deadline: Duration,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Value> {
        self.check(deadline).await?;
        script.run(&self.connections, key, deadline, arguments).await
    }
}
