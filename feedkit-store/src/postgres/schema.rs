//! The versions of the schema, and updating it from one to the next.

use feedkit_core::failpoint::{self, stage};
use feedkit_core::{Error, Result};

use super::failure::{Sql, damaged};
use super::pool::{Pool, reading, transaction};

use super::connection::Session;

/// The scripts, one for each version. The first makes version 1 from an empty schema. Scripts only
/// add tables, optional columns and indexes, so that the previous release can work with the new
/// schema.
const VERSIONS: [Version; 2] = [
    Version { script: include_str!("schema_1.sql"), min_compatible: 1 },
    Version { script: include_str!("schema_2.sql"), min_compatible: 1 },
];

struct Version {
    script: &'static str,
    /// The oldest version whose programs can work with this one.
    min_compatible: i32,
}

/// The number of the advisory lock: the bytes of "feedkit".
const LOCK: i64 = i64::from_be_bytes(*b"feedkit\0");

/// Updates the schema to this program's version, or only checks that the program can work with it.
pub(super) async fn prepare(pool: &Pool, migrate: bool) -> Result<()> {
    if !migrate {
        return match reading!(pool, session => stored(session).await)? {
            Some(found) if found.version < newest() => Err(Error::fatal(format!(
                "PostgreSQL: the schema was made by an older feedkit (version {}, this program needs {}); first start \
                 a program that may migrate",
                found.version,
                newest()
            ))),
            Some(found) => found.check(),
            None => Err(Error::fatal(
                "PostgreSQL: the database has no feedkit schema, and this program may not make it; first start a \
                 program that may migrate",
            )),
        };
    }
    transaction!(pool, "BEGIN", session => {
        session.query_one("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
        let found = stored(session).await?;
        let at = match &found {
            Some(found) => {
                found.check()?;
                found.version
            }
            None => 0,
        };
        for (number, version) in (1..).zip(&VERSIONS).filter(|(number, _)| *number > at) {
            session.batch_execute(version.script).await?;
            failpoint::reach(stage::BEFORE_COMMIT);
            session
                .execute(
                    "INSERT INTO schema_version (version, min_compatible) VALUES ($1, $2)",
                    &[&number, &version.min_compatible],
                )
                .await?;
            tracing::info!(version = number, "schema updated");
        }
        Ok(())
    })
}

fn newest() -> i32 {
    i32::try_from(VERSIONS.len()).expect("a schema has few versions")
}

struct Stored {
    version: i32,
    min_compatible: i32,
}

impl Stored {
    fn check(&self) -> Result<()> {
        if self.min_compatible <= newest() {
            return Ok(());
        }
        Err(Error::fatal(format!(
            "PostgreSQL: the schema was made by a newer feedkit (version {}, which works with programs that know \
             version {} or later; this one knows {}); use a newer release",
            self.version,
            self.min_compatible,
            newest()
        )))
    }
}

async fn stored(session: &Session) -> Sql<Option<Stored>> {
    let there = session.query_one("SELECT to_regclass('schema_version') IS NOT NULL", &[]).await?;
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = session
        .query_opt("SELECT version, min_compatible FROM schema_version ORDER BY version DESC LIMIT 1", &[])
        .await?;
    Ok(row.map(|row| Stored { version: row.get(0), min_compatible: row.get(1) }))
}

/// The incarnation of the database, a random number from when it was made.
pub(super) async fn incarnation(session: &Session) -> Sql<u128> {
    let text = meta(session, "incarnation").await?;
    let text = text.ok_or_else(|| damaged("incarnation is missing"))?;
    Ok(u128::from_str_radix(&text, 16).map_err(|e| damaged(format!("incarnation {text:?}: {e}")))?)
}

/// Gives the database another incarnation, so that followers of the one before start over.
pub(super) async fn renew_incarnation(session: &Session) -> Sql<()> {
    session
        .execute(
            "UPDATE meta SET value = replace(gen_random_uuid()::text, '-', '') WHERE key = 'incarnation'",
            &[],
        )
        .await?;
    Ok(())
}

/// Reads a value of the table `meta`.
pub(super) async fn meta(session: &Session, key: &str) -> Sql<Option<String>> {
    let select = session.prepare_cached("SELECT value FROM meta WHERE key = $1").await?;
    Ok(session.query_opt(&select, &[&key]).await?.map(|row| row.get(0)))
}
