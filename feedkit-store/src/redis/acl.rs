//! The rights that the users of Redis need.

/// A program that uses Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// It counts, and rebuilds the counters.
    Processor,
    /// It reads counters, limits rates and caches answers.
    Gateway,
}

/// Returns the rules of an ACL user that has only the rights that `role` needs. Put them behind the
/// user's name and password in `ACL SETUSER` or in an ACL file. `cluster` says whether they are for
/// a Redis Cluster.
///
/// The processor cannot touch limits and cached answers. The gateway cannot change a counter.
/// Neither can change the server's configuration, load modules, remove everything, or see the
/// commands of others.
///
/// ```
/// use feedkit_store::redis::{Role, acl_rules};
///
/// let line = format!("user feedkit-gateway on >secret {}", acl_rules(Role::Gateway, false));
/// assert!(line.contains("%R~post:*") && !line.contains(" ~post:*"));
/// ```
pub fn acl_rules(role: Role, cluster: bool) -> String {
    let tag = if cluster { "{fk*}:" } else { "" };
    let mut rules = vec!["resetkeys".to_owned(), "resetchannels".to_owned(), "-@all".to_owned()];
    let access = match role {
        Role::Processor => "~",
        Role::Gateway => "%R~",
    };
    rules.extend(COUNTER_KEYS.iter().map(|key| format!("{access}{tag}{key}")));
    let commands: &[&str] = match role {
        Role::Processor => &PROCESSOR,
        Role::Gateway => &GATEWAY,
    };
    if role == Role::Gateway {
        rules.extend(["~feedkit:limit:*", "~feedkit:cache:*"].map(str::to_owned));
    }
    let cluster_commands: &[&str] = if cluster { &CLUSTER } else { &[] };
    rules.extend(COMMON.iter().chain(commands).chain(cluster_commands).map(|command| format!("+{command}")));
    if cluster && role == Role::Processor {
        rules.push("+cluster|getkeysinslot".to_owned());
    }
    rules.join(" ")
}

const COUNTER_KEYS: [&str; 9] = [
    "post:*",
    "top_posts",
    "trending_posts",
    "feedkit:state",
    "feedkit:fences",
    "feedkit:home",
    "feedkit:authors",
    "feedkit:kinds",
    "feedkit:trending:rest",
];

/// The commands that connecting to the server and checking it need.
const COMMON: [&str; 4] = ["ping", "info", "select", "time"];

const PROCESSOR: [&str; 23] = [
    "evalsha",
    "eval",
    "evalsha_ro",
    "eval_ro",
    "type",
    "exists",
    "mget",
    "mset",
    "hget",
    "hmget",
    "hset",
    "hdel",
    "sadd",
    "smembers",
    "zadd",
    "zrem",
    "zmscore",
    "zunionstore",
    "zrevrange",
    "zrangebyscore",
    "unlink",
    "scan",
    "get",
];

const GATEWAY: [&str; 13] = [
    "evalsha",
    "eval",
    "evalsha_ro",
    "eval_ro",
    "get",
    "set",
    "mget",
    "hget",
    "hmget",
    "smembers",
    "zmscore",
    "zrevrange",
    "zrangebyscore",
];

const CLUSTER: [&str; 3] = ["cluster|slots", "readonly", "asking"];
