use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use feedkit_core::sink::NewRecord;
use feedkit_core::source::{Batch, Record, Resume, SourceEvent};
use feedkit_core::{EventSink, EventSource, Offset, Partition, Positions, SystemClock};
use feedkit_store::sqlite::{SourceOptions, Sqlite, SqliteOptions, SqliteSource, USER_ACTIONS};

pub(crate) async fn open(dir: &Path) -> Sqlite {
    Sqlite::open(dir, SqliteOptions::default(), Arc::new(SystemClock)).await.unwrap()
}

pub(crate) fn record(user: &str, value: impl Into<Vec<u8>>) -> NewRecord {
    NewRecord::keyed(user, Bytes::from(value.into()))
}

/// Sends to the users' actions; every record must be taken. The positions after them.
pub(crate) async fn send(store: &Sqlite, batch: Vec<NewRecord>) -> Vec<(Partition, Offset)> {
    let sent = store.log().sink(USER_ACTIONS).unwrap().send(batch).await;
    sent.into_iter().map(|r| r.map(|p| (p.partition, p.offset)).unwrap()).collect()
}

pub(crate) async fn broadcast(store: &Sqlite, options: SourceOptions) -> SqliteSource {
    store.log().broadcast(USER_ACTIONS, options).await.unwrap()
}

pub(crate) async fn next_batch(source: &mut SqliteSource) -> Batch {
    match source.next().await.unwrap() {
        SourceEvent::Batch(batch) => batch,
        other => panic!("expected a batch, got {other:?}"),
    }
}

/// Answers the assignments of all four partitions.
pub(crate) async fn resume_all(source: &mut SqliteSource, from: &Positions) {
    for _ in 0..4 {
        match source.next().await.unwrap() {
            SourceEvent::Assigned(assigned) => {
                let offset = from.of(assigned.partition);
                assigned.resume(Resume { offset, ..Resume::default() });
            }
            other => panic!("expected an assignment, got {other:?}"),
        }
    }
}

/// All records from `from` on, by partition and offset; checks that the batches are contiguous.
pub(crate) async fn read_from(store: &Sqlite, from: &Positions) -> Vec<(Partition, Record)> {
    let mut source = broadcast(store, SourceOptions::default()).await;
    let ends = source.ends().await.unwrap();
    resume_all(&mut source, from).await;
    let mut at = from.clone();
    let mut records = Vec::new();
    while !at.covers(&ends) {
        let batch = next_batch(&mut source).await;
        assert_eq!(batch.from, at.of(batch.partition));
        at.set(batch.partition, batch.to);
        records.extend(batch.records.into_iter().map(|record| (batch.partition, record)));
    }
    records.sort_by_key(|(partition, record)| (*partition, record.offset));
    records
}

/// A directory with a copy of the databases and their write-ahead logs as they are now.
pub(crate) fn copy_live(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["log.db", "log.db-wal", "state.db", "state.db-wal"] {
        if dir.join(name).exists() {
            std::fs::copy(dir.join(name), copy.path().join(name)).unwrap();
        }
    }
    copy
}

/// A small file system in memory, unmounted when dropped.
pub(crate) struct Tmpfs {
    dir: tempfile::TempDir,
}

impl Tmpfs {
    /// `None` for a user who may not mount; where the environment says `CI=true` that is a failure.
    pub(crate) fn mount(bytes: u64) -> Option<Tmpfs> {
        let dir = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={bytes}")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        match rustix::mount::mount("tmpfs", dir.path(), "tmpfs", flags, Some(options.as_c_str())) {
            Ok(()) => Some(Tmpfs { dir }),
            Err(e) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("cannot mount a tmpfs: {e}"),
            Err(e) => {
                eprintln!("skipped: cannot mount a tmpfs: {e}");
                None
            }
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn make_read_only(&self) {
        let flags = rustix::mount::MountFlags::RDONLY;
        rustix::mount::mount_remount(self.dir.path(), flags, c"").unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Detached, since a failing test may have files open.
        let _ = rustix::mount::unmount(self.dir.path(), rustix::mount::UnmountFlags::DETACH);
    }
}
