use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use feedkit_core::follower::FollowerPosition;
use feedkit_core::history::{
    Claim, CommitBatch, Committed, JournalRead, Retained, RetentionPolicy, Snapshot,
};
use feedkit_core::queries::{
    Activity, Bucket, Comment, CommentCursor, PostView, RankedPost, RejectedRecord, Verification,
};
use feedkit_core::{
    Clock, Follower, History, Offset, Partition, Positions, PostId, Queries, Result, SystemClock, Timestamp,
    UserId,
};
use feedkit_store::postgres::{Postgres, PostgresHistory, PostgresRollups, PostgresSettings};
use feedkit_test_services::{Database, given};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Config, NoTls};

pub(super) const NONE: [String; 0] = [];

/// A database of one test's own, dropped with it.
pub(super) struct Databases {
    server: String,
    database: OnceCell<Database>,
    made: AtomicUsize,
}

impl Databases {
    /// `None` without a server.
    pub(super) fn new() -> Option<Databases> {
        Some(Self::on(&given("FEEDKIT_TEST_POSTGRES")?))
    }

    pub(super) fn on(server: &str) -> Databases {
        Databases { server: server.to_owned(), database: OnceCell::new(), made: AtomicUsize::new(0) }
    }

    /// Nothing yet; where it is reached. A database, and for those who ask again a schema of it each.
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
        connect(settings(&self.url().await)).await
    }
}

/// The same server, reached otherwise; by host and port.
pub(super) fn reached(url: &str, change: impl FnOnce(&mut Config)) -> String {
    let mut config: Config = url.parse().unwrap();
    change(&mut config);
    // What `change` added comes last.
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

/// Few connections: many tests share the server.
pub(super) fn settings(url: &str) -> PostgresSettings {
    let mut settings = PostgresSettings::new(url);
    settings.pool_size = 4;
    settings.pool_wait = std::time::Duration::from_secs(60);
    settings.connect_timeout = std::time::Duration::from_secs(60);
    settings
}

pub(super) async fn connect(settings: PostgresSettings) -> Postgres {
    connect_at(settings, SystemClock).await
}

pub(super) async fn connect_at(settings: PostgresSettings, clock: impl Clock) -> Postgres {
    Postgres::connect(settings, Arc::new(clock)).await.unwrap()
}

/// Brings the rollups to where the history stands, from its journal.
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
pub(super) struct Followed {
    pub(super) history: PostgresHistory,
    pub(super) rollups: PostgresRollups,
}

impl Followed {
    pub(super) fn of(store: &Postgres) -> Followed {
        Followed { history: store.history(), rollups: store.rollups() }
    }
}

#[async_trait]
impl History for Followed {
    async fn claim(&self, partition: Partition, group: &str) -> Result<Claim> {
        self.history.claim(partition, group).await
    }
    async fn claimed(&self, partition: Partition) -> Result<Claim> {
        self.history.claimed(partition).await
    }
    async fn commit(&self, batch: Arc<CommitBatch>) -> Result<Committed> {
        let committed = self.history.commit(batch).await?;
        follow(&self.history, &self.rollups).await?;
        Ok(committed)
    }
    async fn journal(&self, partition: Partition, from: Offset, max_effects: usize) -> Result<JournalRead> {
        self.history.journal(partition, from, max_effects).await
    }
    async fn positions(&self) -> Result<Positions> {
        self.history.positions().await
    }
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.history.snapshot().await
    }
    async fn incarnation(&self) -> Result<u128> {
        self.history.incarnation().await
    }
    async fn note_follower(&self, follower: &str, partition: Partition, position: Offset) -> Result<()> {
        self.history.note_follower(follower, partition, position).await
    }
    async fn retain(&self, policy: &RetentionPolicy, now: Timestamp) -> Result<Retained> {
        self.history.retain(policy, now).await
    }
    async fn accept_gap(&self, partition: Partition, log: u128, to: Offset, now: Timestamp) -> Result<()> {
        self.history.accept_gap(partition, log, to, now).await
    }
}

#[async_trait]
impl Queries for Followed {
    async fn post(&self, post: &PostId) -> Result<Option<PostView>> {
        self.history.post(post).await
    }
    async fn top(&self, since: Option<Timestamp>, limit: usize) -> Result<Vec<RankedPost>> {
        self.history.top(since, limit).await
    }
    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        self.history.trending(now, limit).await
    }
    async fn activity(
        &self,
        post: &PostId,
        by: Bucket,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Activity>> {
        self.history.activity(post, by, from, to).await
    }
    async fn comments(
        &self,
        post: &PostId,
        before: Option<CommentCursor>,
        limit: usize,
    ) -> Result<Vec<Comment>> {
        self.history.comments(post, before, limit).await
    }
    async fn liked(&self, user: &UserId, posts: &[PostId]) -> Result<Vec<PostId>> {
        self.history.liked(user, posts).await
    }
    async fn likers(&self, post: &PostId, after: Option<&UserId>, limit: usize) -> Result<Vec<UserId>> {
        self.history.likers(post, after, limit).await
    }
    async fn rejected(
        &self,
        after: Option<(Partition, Offset)>,
        limit: usize,
    ) -> Result<Vec<RejectedRecord>> {
        self.history.rejected(after, limit).await
    }
    async fn verify(&self) -> Result<Verification> {
        self.history.verify().await
    }
}
