//! Lua scripts, which are called by their hashes.

use std::sync::LazyLock;
use std::time::Duration;

use feedkit_core::Result;
use redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind, Value};

use super::connection::{Connections, To};
use super::failure::explain;

/// A script and its hash.
pub(super) struct Script {
    doing: &'static str,
    text: String,
    hash: String,
    /// Whether to call it so that the server does not let it write.
    only_reads: bool,
}

macro_rules! script {
    ($(#[$doc:meta])* $name:ident, $doing:literal, $only_reads:literal, [$($file:literal),+]) => {
        $(#[$doc])*
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new($doing, concat!($(include_str!(concat!("scripts/", $file))),+), $only_reads)
        });
    };
}

script!(APPLY, "counting in Redis", false, ["common.lua", "change.lua", "apply.lua"]);
script!(ADVANCE, "counting in Redis", false, ["common.lua", "advance.lua"]);
script!(LOOK, "reading how far Redis has counted", true, ["common.lua", "look.lua"]);
script!(POSTS, "reading counts from Redis", true, ["common.lua", "posts.lua"]);
script!(RANKED, "reading a list from Redis", true, ["common.lua", "ranked.lua"]);
script!(BEGIN, "rebuilding counters in Redis", false, ["common.lua", "begin.lua"]);
script!(WIPE, "rebuilding counters in Redis", false, ["common.lua", "rebuilding.lua", "wipe.lua"]);
script!(
    LOAD,
    "rebuilding counters in Redis",
    false,
    ["common.lua", "change.lua", "rebuilding.lua", "load.lua"]
);
script!(FINISH, "rebuilding counters in Redis", false, ["common.lua", "rebuilding.lua", "finish.lua"]);
script!(SPEND, "asking Redis for an allowance", false, ["spend.lua"]);

impl Script {
    fn new(doing: &'static str, text: &str, only_reads: bool) -> Self {
        let hash = redis::Script::new(text).get_hash().to_owned();
        Script { doing, text: text.to_owned(), hash, only_reads }
    }

    /// What it does, for messages.
    pub(super) fn doing(&self) -> &'static str {
        self.doing
    }

    /// Runs the script on the server that has `key`, its only declared key. It takes one round
    /// trip, and another one if the server does not know the script yet and needs its text.
    pub(super) async fn run(
        &self,
        connections: &Connections,
        key: &str,
        deadline: Duration,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Value> {
        let answer =
            match connections.send_raw(self.call(true, key, &arguments), To::Key(key), deadline).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    connections.send_raw(self.call(false, key, &arguments), To::Key(key), deadline).await
                }
                other => other,
            };
        self.explained(answer)
    }

    fn call(&self, known: bool, key: &str, arguments: impl Fn(&mut Cmd)) -> Cmd {
        let mut command = Cmd::new();
        let name = match (known, self.only_reads) {
            (true, true) => "EVALSHA_RO",
            (true, false) => "EVALSHA",
            (false, true) => "EVAL_RO",
            (false, false) => "EVAL",
        };
        command.arg(name).arg(if known { &self.hash } else { &self.text }).arg(1).arg(key);
        arguments(&mut command);
        command
    }

    fn explained(&self, answer: RedisResult<Value>) -> Result<Value> {
        answer.map_err(|error| explain(self.doing, error))
    }
}
