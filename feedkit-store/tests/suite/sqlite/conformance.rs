//! The SQLite backends fulfil their contracts.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use feedkit_core::sink::NewRecord;
use feedkit_core::testkit::conformance::{self, LogHarness, Named};
use feedkit_core::{EventSink, EventSource, Offset, Partition, Positions, SystemClock};
use feedkit_store::sqlite::{
    MAX_RECORD_BYTES, SourceOptions, Sqlite, SqliteAlertLog, SqliteOptions, SqliteSink, USER_ACTIONS,
};

/// The users' actions of three partitions in a directory of their own, read in small batches.
struct Harness {
    store: Sqlite,
    sink: SqliteSink,
    dir: tempfile::TempDir,
}

async fn open(dir: tempfile::TempDir) -> Harness {
    let mut options = SqliteOptions::default();
    options.partitions = 3;
    let store = Sqlite::open(dir.path(), options, Arc::new(SystemClock)).await.unwrap();
    Harness { sink: store.log().sink(USER_ACTIONS).unwrap(), store, dir }
}

async fn fresh() -> Harness {
    open(tempfile::tempdir().unwrap()).await
}

fn small() -> SourceOptions {
    let mut options = SourceOptions::default();
    options.max_records = 7;
    options
}

#[async_trait]
impl LogHarness for Harness {
    fn partitions(&self) -> u32 {
        3
    }
    fn sink(&self) -> &dyn EventSink {
        &self.sink
    }
    async fn member(&self, group: &str) -> Named {
        let source = self.store.log().member(USER_ACTIONS, group, small()).await.unwrap();
        Named { name: String::new(), source: Box::new(source) }
    }
    async fn broadcast(&self) -> Box<dyn EventSource> {
        Box::new(self.store.log().broadcast(USER_ACTIONS, small()).await.unwrap())
    }
    fn refused(&self) -> Option<NewRecord> {
        Some(NewRecord { key: None, value: Bytes::from(vec![0; MAX_RECORD_BYTES + 1]) })
    }
    async fn reopen(&mut self) -> bool {
        self.store.close().await;
        let other = open(tempfile::tempdir().unwrap()).await;
        let Harness { store, sink, dir } = std::mem::replace(self, other);
        drop((store, sink));
        *self = open(dir).await;
        true
    }
    async fn expire_before(&self, partition: Partition, start: Offset) -> bool {
        // Rows go whole; in this suite they may begin anywhere, so there is nothing to be sure of
        // but this.
        self.store.log().retain(USER_ACTIONS, &Positions::from_iter([(partition, start)])).await.unwrap();
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_keeps_its_contract() {
    conformance::sink(fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_keeps_its_contract() {
    conformance::source(fresh).await;
}

/// Alert logs; the directories live as long as this.
#[derive(Default)]
struct AlertLogs(Mutex<Vec<tempfile::TempDir>>);

impl AlertLogs {
    async fn fresh(&self) -> SqliteAlertLog {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(dir.path(), SqliteOptions::default(), Arc::new(SystemClock)).await.unwrap();
        self.0.lock().unwrap().push(dir);
        store.alert_log()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alerts_keep_their_contract() {
    let logs = AlertLogs::default();
    conformance::alerts(async || logs.fresh().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_keeps_its_contract() {
    let logs = AlertLogs::default();
    conformance::outbox(async || logs.fresh().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alert_log_keeps_its_contract() {
    let logs = AlertLogs::default();
    conformance::alert_log(async || logs.fresh().await).await;
}
