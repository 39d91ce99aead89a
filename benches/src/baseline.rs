//! The plain program: one thread reads lines and writes rows, in one transaction per batch with
//! `synchronous=FULL`.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, params};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    user_id: String,
    post_id: String,
    #[serde(rename = "type")]
    kind: String,
}

/// The figures of one run.
pub struct Run {
    pub events: u64,
    pub seconds: f64,
}

impl Run {
    pub fn per_second(&self) -> f64 {
        self.events as f64 / self.seconds
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events in {:.2} s: {:.0} events/s", self.events, self.seconds, self.per_second())
    }
}

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 8000;
    PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY;
    CREATE TABLE events (id BLOB, user TEXT, post TEXT, kind TEXT, time INTEGER, offset INTEGER, effect INTEGER,
        PRIMARY KEY (id, user)) WITHOUT ROWID;
    CREATE TABLE likes (post TEXT, user TEXT, PRIMARY KEY (post, user)) WITHOUT ROWID;
    CREATE TABLE post_totals (post TEXT, kind TEXT, count INTEGER, PRIMARY KEY (post, kind)) WITHOUT ROWID;
    CREATE TABLE post_hourly (hour INTEGER, post TEXT, kind TEXT, count INTEGER,
        PRIMARY KEY (hour, post, kind)) WITHOUT ROWID;
    CREATE TABLE journal (first INTEGER PRIMARY KEY, entry BLOB);";

/// Reads `file` into a new database in `dir`. With `raw`, it writes only raw rows.
pub fn run(file: &Path, dir: &Path, batch: usize, raw: bool) -> Result<Run, Box<dyn std::error::Error>> {
    let started = Instant::now();
    let mut connection = Connection::open(dir.join("baseline.db"))?;
    connection.execute_batch(SCHEMA)?;
    let mut lines = BufReader::with_capacity(1 << 18, File::open(file)?).lines();
    let mut offset = 0u64;
    loop {
        let mut events = Vec::with_capacity(batch);
        for line in lines.by_ref().take(batch) {
            events.push(serde_json::from_str::<Line>(&line?)?);
        }
        if events.is_empty() {
            break;
        }
        let transaction = connection.transaction()?;
        commit(&transaction, &events, offset, raw)?;
        transaction.commit()?;
        offset += events.len() as u64;
    }
    Ok(Run { events: offset, seconds: started.elapsed().as_secs_f64() })
}

fn commit(connection: &Connection, events: &[Line], start: u64, raw: bool) -> rusqlite::Result<()> {
    let mut event = connection.prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    let mut like = connection.prepare_cached("INSERT OR IGNORE INTO likes VALUES (?1, ?2)")?;
    let mut totals: HashMap<(&str, &str), i64> = HashMap::new();
    let mut journal = Vec::new();
    for (i, line) in events.iter().enumerate() {
        let offset = start + i as u64;
        // The id has as many bits as a UUIDv7, and the same order.
        let id = (u128::from(offset) << 64) | u128::from(offset.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let effect = raw || line.kind != "like" || like.execute([&line.post_id, &line.user_id])? == 1;
        event.execute(params![
            &id.to_be_bytes()[..],
            line.user_id,
            line.post_id,
            line.kind,
            offset as i64,
            offset as i64,
            effect
        ])?;
        if effect && !raw {
            *totals.entry((&line.post_id, &line.kind)).or_default() += 1;
            journal.extend_from_slice(line.user_id.as_bytes());
            journal.push(b' ');
            journal.extend_from_slice(line.post_id.as_bytes());
            journal.push(b'\n');
        }
    }
    if raw {
        return Ok(());
    }
    let mut total = connection.prepare_cached(
        "INSERT INTO post_totals VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET count = count + excluded.count",
    )?;
    let mut hourly = connection.prepare_cached(
        "INSERT INTO post_hourly VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET count = count + excluded.count",
    )?;
    let hour = start / 3_600_000;
    for ((post, kind), count) in totals {
        total.execute(params![post, kind, count])?;
        hourly.execute(params![hour as i64, post, kind, count])?;
    }
    connection
        .prepare_cached("INSERT INTO journal VALUES (?1, ?2)")?
        .execute(params![start as i64, journal])?;
    Ok(())
}
