//! Rebuilding the counters in place.
//!
//! The shards are first marked as being rebuilt, and refuse appliers and readers. Then the old keys
//! are removed, the totals are written, and the fences are set, with which the shards work again.
//! Each step contains the rebuild's token, so that a rebuild that was replaced changes nothing
//! more. Each shard counts its loads, so that a shard that lost some in a failover is noticed.

use feedkit_core::counters::RebuildToken;
use feedkit_core::failpoint::{self, stage};
use feedkit_core::history::PostTotals;
use feedkit_core::{Error, Positions, Result};
use futures_util::future::try_join_all;
use hashbrown::HashSet;
use parking_lot::MutexGuard;
use redis::Value;
use redis::cluster_routing::Slot;

use super::changes::Changes;
use super::counters::RedisCounters;
use super::failure::unexpected;
use super::fence::{Mark, encode_incarnation};
use super::reply;
use super::script::{BEGIN, FINISH, LOAD, Script, WIPE};
use super::shard::misfit;
use super::shared::OwnRebuild;

/// Maximum number of counters that one script sets.
const LOAD_KEYS: usize = 1000;
/// How many keys to scan in one step when old ones are removed.
const SCAN_KEYS: usize = 1000;
/// How many shards to work on at the same time.
const AT_ONCE: usize = 8;

impl RedisCounters {
    pub(super) async fn begin(&self) -> Result<RebuildToken> {
        let token = self.begin_shard(0, None).await?;
        let others = 1..self.shared.keys.shards().len();
        try_join_all(others.map(|shard| self.begin_shard(shard, Some(token)))).await?;
        self.shared.views.lock().clear();
        failpoint::reach(stage::REBUILD);
        let shards: Vec<_> = (0..self.shared.keys.shards().len()).collect();
        for some in shards.chunks(AT_ONCE) {
            try_join_all(some.iter().map(|&shard| self.wipe(shard, token))).await?;
        }
        *self.own() = Some(OwnRebuild { token, loads: vec![0; shards.len()] });
        Ok(RebuildToken(token))
    }

    pub(super) async fn load_totals(&self, token: RebuildToken, totals: &[PostTotals]) -> Result<()> {
        // A rebuild that this program does not know was replaced, or has ended.
        self.loads(token, None)?;
        let mut parts: Vec<Vec<Changes<'_>>> = Vec::new();
        parts.resize_with(self.shared.keys.shards().len(), Vec::new);
        for post in totals {
            let part = &mut parts[self.shared.keys.shard_of(&post.post)];
            if part.last().is_none_or(|last| last.len() + post.counts.len() > LOAD_KEYS) {
                part.push(Changes::default());
            }
            if let Some(last) = part.last_mut() {
                last.set(post)?;
            }
        }
        let loads = parts.into_iter().enumerate().filter(|(_, parts)| !parts.is_empty());
        let loads = loads.map(|(shard, parts)| async move {
            for part in parts {
                self.load_part(token, shard, &part).await?;
            }
            Ok::<_, Error>(())
        });
        try_join_all(loads).await.map(drop)
    }

    pub(super) async fn finish(
        &self,
        token: RebuildToken,
        positions: &Positions,
        incarnation: u128,
    ) -> Result<()> {
        let all = self.loads(token, None)?;
        // The first shard is the last to finish: as long as it says that a rebuild runs, one does.
        let others = 1..all.len();
        try_join_all(others.map(|shard| self.finish_shard(shard, token, all[shard], positions, incarnation)))
            .await?;
        failpoint::reach(stage::REBUILD);
        self.finish_shard(0, token, all[0], positions, incarnation).await?;
        *self.own() = None;
        self.shared.views.lock().clear();
        Ok(())
    }

    async fn begin_shard(&self, shard: usize, token: Option<u64>) -> Result<u64> {
        let shard = &self.shared.keys.shards()[shard];
        let patience = self.shared.options.rebuild_patience.as_millis() as u64;
        let arguments = |command: &mut redis::Cmd| {
            command.arg(&shard.prefix).arg(token.map(|token| token.to_string()).unwrap_or_default());
            command.arg(&self.shared.owner).arg(patience);
        };
        let (name, rest) = self.step(&BEGIN, &shard.state, arguments).await?;
        match (name.as_str(), rest.first().and_then(reply::number)) {
            ("begun", Some(token)) => Ok(token),
            ("busy", since) => Err(Error::retriable(format!(
                "another process is rebuilding the counters in Redis; its last sign of life was {} ms ago",
                since.unwrap_or(0)
            ))),
            ("fenced", _) => Err(over(RebuildToken(token.unwrap_or(0)))),
            _ => Err(unexpected(BEGIN.doing(), &Value::SimpleString(name))),
        }
    }

    /// Removes all counters of a shard, whatever type their keys have.
    async fn wipe(&self, number: usize, token: u64) -> Result<()> {
        let shard = &self.shared.keys.shards()[number];
        let members = self.shared.send(
            WIPE.doing(),
            one("SMEMBERS", &format!("{}feedkit:kinds", shard.prefix)),
            &shard.state,
        );
        let (Value::Array(members) | Value::Set(members)) = members.await? else {
            return Err(unexpected(WIPE.doing(), &Value::Nil));
        };
        let mut kinds: HashSet<String> = members.iter().filter_map(reply::text).collect();
        kinds.extend(["like", "comment"].map(str::to_owned));
        let mut scan = Scan::default();
        while let Some((found, looked)) = self.scan(number, &mut scan).await? {
            let is_ours = |key: &Vec<u8>| shard.is_counter(key, |kind| kinds.contains(kind));
            let ours: Vec<_> = found.into_iter().filter(is_ours).collect();
            scan.kept = looked - ours.len();
            // The script runs even without keys to remove, as a sign of life.
            let arguments = |command: &mut redis::Cmd| {
                command.arg(&shard.prefix).arg(token).arg(&ours);
            };
            match self.step(&WIPE, &shard.state, arguments).await?.0.as_str() {
                "wiped" => {}
                _ => return Err(over(RebuildToken(token))),
            }
        }
        Ok(())
    }

    /// The next keys of a shard, and how many were scanned.
    async fn scan(&self, number: usize, scan: &mut Scan) -> Result<Option<(Vec<Vec<u8>>, usize)>> {
        if scan.done {
            return Ok(None);
        }
        let shard = &self.shared.keys.shards()[number];
        if self.shared.keys.is_single() {
            let mut command = redis::cmd("SCAN");
            command
                .arg(&scan.cursor)
                .arg("MATCH")
                .arg(format!("{}post:*", shard.prefix))
                .arg("COUNT")
                .arg(SCAN_KEYS);
            let answer = self.shared.send(WIPE.doing(), command, &shard.state).await?;
            let Value::Array(mut parts) = answer else { return Err(unexpected(WIPE.doing(), &answer)) };
            scan.cursor = reply::text_at(&parts, 0).ok_or_else(|| unexpected(WIPE.doing(), &Value::Nil))?;
            scan.done = scan.cursor == "0";
            let found = bytes(reply::array_at(&mut parts, 1).unwrap_or_default());
            let looked = found.len();
            return Ok(Some((found, looked)));
        }
        // A cluster lists the keys of a slot, always from the first. So the keys that stay must be
        // skipped.
        let wanted = scan.kept + SCAN_KEYS;
        let mut command = redis::cmd("CLUSTER");
        command.arg("GETKEYSINSLOT").arg(slot_of(&shard.state)).arg(wanted);
        let answer = self.shared.send(WIPE.doing(), command, &shard.state).await?;
        let Value::Array(found) = answer else { return Err(unexpected(WIPE.doing(), &answer)) };
        scan.done = found.len() < wanted;
        let looked = found.len();
        Ok(Some((bytes(found), looked)))
    }

    async fn load_part(&self, token: RebuildToken, number: usize, changes: &Changes<'_>) -> Result<()> {
        let shard = &self.shared.keys.shards()[number];
        let (load, packed) = (self.loads(token, None)?[number], changes.encode());
        let arguments = |command: &mut redis::Cmd| {
            command.arg(&shard.prefix).arg(token.0).arg(load).arg(&packed[..]);
        };
        let (name, rest) = self.step(&LOAD, &shard.state, arguments).await?;
        match name.as_str() {
            "loaded" => self.loads(token, Some(number)).map(drop),
            "misfit" => Err(misfit(&rest)),
            "lost" => Err(lost(token)),
            _ => Err(over(token)),
        }
    }

    async fn finish_shard(
        &self,
        number: usize,
        token: RebuildToken,
        loads: u64,
        positions: &Positions,
        incarnation: u128,
    ) -> Result<()> {
        let shard = &self.shared.keys.shards()[number];
        let cluster = !self.shared.keys.is_single();
        let is_home = |partition| cluster && self.shared.keys.home_of(partition) == number;
        // The partitions whose home is here come first.
        let mut fences: Vec<_> = positions.iter().collect();
        fences.sort_by_key(|(partition, _)| !is_home(*partition));
        let homes = fences.iter().filter(|(partition, _)| is_home(*partition)).count();
        let incarnation = encode_incarnation(incarnation);
        let arguments = |command: &mut redis::Cmd| {
            command.arg(&shard.prefix).arg(token.0).arg(&incarnation).arg(loads).arg(homes);
            for (partition, position) in &fences {
                command.arg(partition.0).arg(Mark { position: *position, chunk: 0 }.encode());
            }
        };
        let (name, rest) = self.step(&FINISH, &shard.state, arguments).await?;
        match name.as_str() {
            "finished" => Ok(()),
            "misfit" => Err(misfit(&rest)),
            "lost" => Err(lost(token)),
            _ => Err(over(token)),
        }
    }

    async fn step(
        &self,
        script: &Script,
        key: &str,
        arguments: impl Fn(&mut redis::Cmd),
    ) -> Result<(String, Vec<Value>)> {
        let answer = self.shared.run(script, key, arguments).await?;
        reply::named(answer).ok_or_else(|| unexpected(script.doing(), &Value::Nil))
    }

    /// How many loads each shard has had in the rebuild with this token, after adding one to the
    /// shard `done`.
    fn loads(&self, token: RebuildToken, done: Option<usize>) -> Result<Vec<u64>> {
        let mut own = self.own();
        let own = own.as_mut().filter(|own| own.token == token.0).ok_or_else(|| over(token))?;
        if let Some(shard) = done {
            own.loads[shard] += 1;
        }
        Ok(own.loads.clone())
    }

    fn own(&self) -> MutexGuard<'_, Option<OwnRebuild>> {
        self.shared.rebuild.lock()
    }
}

/// How far the keys of a shard have been scanned.
#[derive(Debug)]
struct Scan {
    cursor: String,
    /// Keys of the last step that are not counters.
    kept: usize,
    done: bool,
}

impl Default for Scan {
    fn default() -> Self {
        Scan { cursor: "0".to_owned(), kept: 0, done: false }
    }
}

/// The number of a key's slot. The client library does not give it.
fn slot_of(key: &str) -> u16 {
    let slot = Slot::for_key(key);
    (0..u16::MAX).find(|number| Slot::new(*number) == Some(slot)).unwrap_or(0)
}

fn one(name: &str, key: &str) -> redis::Cmd {
    let mut command = redis::cmd(name);
    command.arg(key);
    command
}

fn bytes(values: Vec<Value>) -> Vec<Vec<u8>> {
    let bytes = |value| match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    };
    values.into_iter().filter_map(bytes).collect()
}

fn over(token: RebuildToken) -> Error {
    Error::fenced(format!("rebuild {} has ended, or another one has begun", token.0))
}

/// The error of a rebuild that lost data. A new rebuild may succeed.
fn lost(token: RebuildToken) -> Error {
    Error::retriable(format!("Redis lost part of what rebuild {} had written", token.0))
}
