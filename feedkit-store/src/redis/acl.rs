/// Who uses Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Counts, and rebuilds the counters.
    Processor,
    /// Reads counters, limits rates, caches answers.
    Gateway,
}

/// The rules of an ACL user with no more rights than `role` needs, to be put behind its name and password in
/// `ACL SETUSER` or an ACL file; `cluster` says for which of the two.
///
/// The processor cannot touch limits and cached answers, the gateway cannot change a counter, and neither can change
/// the server's configuration, load modules, remove everything, or see what others send.
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

/// What connecting and looking at the server takes.
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
