//! Checking that a server is new enough and does not remove counters.

use std::time::Duration;

use feedkit_core::Result;
use redis::Value;

use super::connection::{Connections, To, misconfigured};
use super::failure::explain;
use super::reply;

/// The oldest version that works: the scripts need `EVALSHA_RO`.
const OLDEST: u32 = 7;

/// Checks every master. The error says why one of them cannot hold counters.
pub(super) async fn check(connections: &Connections, cluster: bool, deadline: Duration) -> Result<()> {
    let mut info = redis::cmd("INFO");
    info.arg("server").arg("memory");
    let answer = connections.send_raw(info, To::Masters, deadline).await;
    let answer = answer.map_err(|error| explain("looking at Redis", error))?;
    let mut texts = Vec::new();
    collect(answer, &mut texts);
    texts.iter().try_for_each(|text| check_one(text, cluster))
}

fn collect(answer: Value, texts: &mut Vec<String>) {
    match answer {
        Value::Map(nodes) => nodes.into_iter().for_each(|(_, info)| collect(info, texts)),
        Value::Array(nodes) => nodes.into_iter().for_each(|info| collect(info, texts)),
        other => texts.extend(reply::text(&other)),
    }
}

fn check_one(info: &str, cluster: bool) -> Result<()> {
    let field =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let version = field("redis_version").unwrap_or("unknown");
    if version.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|v| v < OLDEST) {
        return Err(misconfigured(format!("Redis has version {version}; feedkit needs {OLDEST}.0 or newer")));
    }
    match (field("redis_mode"), cluster) {
        (Some("cluster"), false) => {
            return Err(misconfigured(
                "this Redis is part of a cluster, but the options are for a single one: set `cluster`",
            ));
        }
        (Some("standalone"), true) => {
            return Err(misconfigured("the options are for a Redis Cluster, but this Redis is a single one"));
        }
        _ => {}
    }
    if let Some(policy) = field("maxmemory_policy").filter(|policy| policy.starts_with("allkeys")) {
        return Err(misconfigured(format!(
            "Redis is set to maxmemory-policy {policy}: when memory is short it would take counters away, and \
             nobody would know. Set it to noeviction, or to a volatile-… policy: of feedkit's keys only rate \
             limits and cached answers expire",
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_take_counters_away_is_refused() {
        let info = |policy: &str| {
            format!(
                "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nmaxmemory_policy:{policy}\r\n"
            )
        };
        for policy in ["noeviction", "volatile-lru", "volatile-ttl"] {
            check_one(&info(policy), false).unwrap();
        }
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
            let error = check_one(&info(policy), false).unwrap_err();
            assert!(error.to_string().contains(policy), "{error}");
        }
        assert!(check_one(&info("noeviction"), true).is_err());
        assert!(check_one(&info("noeviction").replace("7.0", "6.2"), false).is_err());
    }
}
