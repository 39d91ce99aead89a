use std::sync::Arc;

use feedkit_core::SystemClock;
use feedkit_store::sqlite::{Sqlite, SqliteOptions};

#[tokio::test(flavor = "multi_thread")]
async fn opens_closes_and_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let store = Sqlite::open(dir.path(), SqliteOptions::default(), Arc::new(SystemClock)).await.unwrap();
        store.close().await;
        drop(store);
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
    }
}
