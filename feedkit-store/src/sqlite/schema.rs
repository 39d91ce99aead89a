//! The versions of the two databases, and updating them from one to the next.

use std::path::Path;

use feedkit_core::Error;
use rusqlite::{Connection, TransactionBehavior};

use super::failure::Sql;

/// The schema of a database file, with its scripts.
#[derive(Debug)]
pub(crate) struct Schema {
    /// Its name in messages.
    pub(crate) name: &'static str,
    /// The number by which SQLite's files name the program that they belong to.
    pub(crate) application_id: i32,
    /// The scripts, one for each version. The first makes version 1 from an empty file.
    pub(crate) versions: &'static [&'static str],
}

/// The tables of version 1 of `state.db`.
const STATE_V1: &str = include_str!("schema_1.sql");
/// The tables of version 1 of `log.db`.
const LOG_V1: &str = include_str!("log/schema_1.sql");

/// `state.db`: the history, the counters and the alerts.
pub(crate) const STATE: Schema =
    Schema { name: "state", application_id: i32::from_be_bytes(*b"fkst"), versions: &[STATE_V1] };

/// `log.db`: the topics' records.
pub(crate) const LOG: Schema =
    Schema { name: "log", application_id: i32::from_be_bytes(*b"fklg"), versions: &[LOG_V1] };

/// The incarnation of the database, a random number from when it was made.
pub(crate) fn incarnation(connection: &Connection) -> Sql<u128> {
    let bytes: [u8; 16] =
        connection.query_row("SELECT value FROM meta WHERE key = 'incarnation'", [], |row| row.get(0))?;
    Ok(u128::from_be_bytes(bytes))
}

/// Gives the database another incarnation, so that followers of the one before start over.
pub(crate) fn renew_incarnation(connection: &Connection) -> Sql<()> {
    connection.execute("UPDATE meta SET value = randomblob(16) WHERE key = 'incarnation'", [])?;
    Ok(())
}

impl Schema {
    fn newest(&self) -> i32 {
        i32::try_from(self.versions.len()).expect("a schema has few versions")
    }

    /// The file's version; 0 if it is empty. Refuses a file of another program, or a newer version.
    pub(crate) fn version(&self, connection: &Connection, path: &Path) -> Sql<i32> {
        let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if id != self.application_id {
            let empty: bool =
                connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |r| r.get(0))?;
            if id == 0 && version == 0 && empty {
                return Ok(0);
            }
            let message = format!(
                "{} belongs to another program (application id {id:#x}); move it away, or name another directory",
                path.display()
            );
            return Err(Error::fatal(message).into());
        }
        if version > self.newest() {
            let dir = path.parent().unwrap_or(path).display();
            let (name, newest) = (self.name, self.newest());
            return Err(Error::fatal(format!(
                "{dir} was written by a newer feedkit ({name} version {version}, this program knows {newest}); use that version"
            ))
            .into());
        }
        Ok(version)
    }

    /// Checks before reading that the file has this program's version.
    pub(crate) fn check(&self, connection: &Connection, path: &Path) -> Sql<()> {
        let version = self.version(connection, path)?;
        if version == self.newest() {
            return Ok(());
        }
        let (shown, name, newest) = (path.display(), self.name, self.newest());
        let message = if version == 0 {
            format!("{shown} is empty: feedkit was stopped while it was making the file; start it again")
        } else {
            format!(
                "{shown} was written by an older feedkit ({name} version {version}, this program reads {newest}); open it once with a feedkit that writes, which updates it"
            )
        };
        Err(Error::fatal(message).into())
    }

    /// Updates the file to this program's version, all steps in one transaction.
    pub(crate) fn migrate(&self, connection: &mut Connection, path: &Path) -> Sql<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version = self.version(&transaction, path)?;
        if version == self.newest() {
            return Ok(());
        }
        let done = usize::try_from(version).unwrap_or(0);
        for script in &self.versions[done..] {
            transaction.execute_batch(script)?;
        }
        transaction.pragma_update(None, "application_id", self.application_id)?;
        transaction.pragma_update(None, "user_version", self.newest())?;
        transaction.commit()?;
        tracing::info!(file = %path.display(), from = version, to = self.newest(), "schema updated");
        Ok(())
    }
}
