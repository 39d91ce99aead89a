//! A cache of answers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use feedkit_core::{AnswerCache, Result};
use redis::Value;

use super::failure::unexpected;
use super::shared::Shared;

/// A cache of answers that all gateways on one Redis share.
#[derive(Debug, Clone)]
pub struct RedisCache {
    shared: Arc<Shared>,
}

const DOING: &str = "asking Redis for a cached answer";

impl RedisCache {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        RedisCache { shared }
    }

    fn key(&self, key: &str) -> String {
        format!("{}feedkit:cache:{key}", self.shared.options.prefix)
    }
}

#[async_trait]
impl AnswerCache for RedisCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let key = self.key(key);
        let mut command = redis::cmd("GET");
        command.arg(&key);
        match self.shared.send(DOING, command, &key).await? {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) => Ok(Some(Bytes::from(bytes))),
            other => Err(unexpected(DOING, &other)),
        }
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()> {
        let key = self.key(key);
        let mut command = redis::cmd("SET");
        let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 50);
        command.arg(&key).arg(&value[..]).arg("PX").arg(millis);
        self.shared.send(DOING, command, &key).await.map(drop)
    }
}
