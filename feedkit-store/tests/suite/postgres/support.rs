//! Databases and stores for the tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use feedkit_core::follower::FollowerPosition;
use feedkit_core::history::{CommitBatch, Committed, JournalRead};
use feedkit_core::testkit::{Hooked, Hooks};
use feedkit_core::{Clock, Follower, History, Result, SystemClock};
use feedkit_store::postgres::{Postgres, PostgresHistory, PostgresOptions, PostgresRollups};
use feedkit_test_services::{Database, given};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Config, NoTls};

/// A database of one test's own, dropped with it.
pub(super) struct Databases {
    server: String,
    database: OnceCell<Database>,
    made: AtomicUsize,
}

impl Databases {
    /// On the server that all tests share.
    pub(super) fn new() -> Databases {
        Self::on(&given("FEEDKIT_TEST_POSTGRES"))
    }

    pub(super) fn on(server: &str) -> Databases {
        Databases { server: server.to_owned(), database: OnceCell::new(), made: AtomicUsize::new(0) }
    }

    /// The URL of an empty place: first the database, and then a new schema in it for each further
    /// call.
    pub(super) async fn url(&self) -> String {
        let made = self.made.fetch_add(1, Ordering::SeqCst);
        let database = self.database.get_or_init(|| Database::on(&self.server)).await;
        let url = reached(&database.url(), |_| ());
        if made == 0 {
            return url;
        }
        database.client().await.batch_execute(&format!("CREATE SCHEMA s{made}")).await.unwrap();
        format!("{url} options='-c search_path=s{made}'")
    }

    pub(super) async fn store(&self) -> Postgres {
        connect(options(&self.url().await)).await
    }
}

/// The URL of the same server, after `change`, by host and port.
pub(super) fn reached(url: &str, change: impl FnOnce(&mut Config)) -> String {
    let mut config: Config = url.parse().unwrap();
    change(&mut config);
    // The host that `change` added is the last.
    let host = match config.get_hosts().last() {
        Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
        other => panic!("the tests reach the server by TCP, not {other:?}"),
    };
    let port = config.get_ports().last().copied().unwrap_or(5432);
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let mut url = format!("host={} port={port}", quoted(&host));
    for (key, value) in [
        ("user", config.get_user().map(str::to_owned)),
        ("password", config.get_password().map(|p| String::from_utf8_lossy(p).into_owned())),
        ("dbname", config.get_dbname().map(str::to_owned)),
        ("options", config.get_options().map(str::to_owned)),
    ] {
        if let Some(value) = value {
            url += &format!(" {key}={}", quoted(&value));
        }
    }
    url
}

/// A connection beside the store's.
pub(super) async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    // It ends with the client.
    tokio::spawn(connection);
    client
}

/// Options with few connections, because many tests share the server.
pub(super) fn options(url: &str) -> PostgresOptions {
    let mut options = PostgresOptions::new(url);
    options.pool_size = 4;
    options.pool_wait = std::time::Duration::from_secs(60);
    options.connect_timeout = std::time::Duration::from_secs(60);
    options
}

pub(super) async fn connect(options: PostgresOptions) -> Postgres {
    connect_at(options, Arc::new(SystemClock)).await
}

pub(super) async fn connect_at(options: PostgresOptions, clock: Arc<dyn Clock>) -> Postgres {
    Postgres::connect(options, clock).await.unwrap()
}

/// Brings the rollups to the history's positions, from its journal.
pub(super) async fn follow(history: &PostgresHistory, rollups: &PostgresRollups) -> Result<()> {
    for (partition, end) in history.positions().await?.iter() {
        while let FollowerPosition::At(at) = rollups.position(partition).await?
            && at < end
        {
            let JournalRead::Entries(entries) = history.journal(partition, at, 1000).await? else {
                panic!("the journal of {partition} does not reach back to {at}");
            };
            rollups.apply(partition, &entries).await?;
            rollups.close().await?;
        }
    }
    Ok(())
}

/// A history whose rollups follow each commit at once.
pub(super) type Followed = Hooked<PostgresHistory, Rollups>;

pub(super) fn followed(store: &Postgres) -> Followed {
    Hooked { inner: store.history(), hooks: Rollups(store.rollups()) }
}

pub(super) struct Rollups(PostgresRollups);

#[async_trait]
impl Hooks<PostgresHistory> for Rollups {
    async fn commit(&self, inner: &PostgresHistory, batch: Arc<CommitBatch>) -> Result<Committed> {
        let committed = inner.commit(batch).await?;
        follow(inner, &self.0).await?;
        Ok(committed)
    }
}
