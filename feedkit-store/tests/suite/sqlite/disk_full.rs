//! A full disk loses nothing.

use std::fs;

use feedkit_core::{ErrorKind, EventSink, Offset, Partition, Positions};
use feedkit_store::sqlite::USER_ACTIONS;
use feedkit_test_services::{Tmpfs, apply, needs_tmpfs};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::support::*;

/// Fills a disk of this size, with a file that can be removed to make space.
const DISK: u64 = 12 << 20;
const BALLAST: usize = 4 << 20;

#[apply(needs_tmpfs!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_work_goes_on_when_there_is_space() {
    let disk = Tmpfs::mount(DISK);
    let seed = 7;
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let store = open(&disk.path().join("data")).await;
    let ballast = disk.path().join("data").join("ballast");
    fs::write(&ballast, vec![1; BALLAST]).unwrap();

    let sink = store.log().sink(USER_ACTIONS).unwrap();
    let mut kept: Vec<((Partition, Offset), Vec<u8>)> = Vec::new();
    let mut refused = 0;
    while refused < 5 {
        assert!(kept.len() < 2000, "the disk never fills");
        // Large records fill the disk, and small ones use the last space.
        let size = if refused == 0 { 50_000 } else { 10_000 / (refused + 1) };
        let mut value = vec![0; size];
        random.fill_bytes(&mut value);
        let user = format!("u{}", random.next_u32() % 50);
        match sink.send(vec![record(&user, value.clone())]).await.remove(0) {
            Ok(position) => kept.push(((position.partition, position.offset), value)),
            Err(error) => {
                refused += 1;
                assert!(error.kind().may_pass(), "{error:?}");
                if error.kind() == ErrorKind::Retriable {
                    let text = error.to_string();
                    assert!(text.contains("is full") && text.contains("log.db"), "{text}");
                }
            }
        }
    }
    assert!(kept.len() > 50, "only {} records fit", kept.len());

    fs::remove_file(&ballast).unwrap();
    for n in 0..20 {
        let value = format!("after {n}").into_bytes();
        let position = send(&store, vec![record(&format!("u{n}"), value.clone())]).await[0];
        kept.push((position, value));
    }
    kept.sort();
    let positions: Vec<_> = kept.iter().map(|(position, _)| *position).collect();
    let mut unique = positions.clone();
    unique.dedup();
    assert_eq!(positions, unique, "a position was given out twice");

    let found = async |store: &feedkit_store::sqlite::Sqlite| {
        let records = read_from(store, &Positions::new()).await.into_iter();
        records.map(|(p, r)| ((p, r.offset + 1), r.value.to_vec())).collect::<Vec<_>>()
    };
    assert!(found(&store).await == kept, "what is read is not what was acknowledged");
    store.close().await;
    drop((sink, store));
    let store = open(&disk.path().join("data")).await;
    assert!(found(&store).await == kept, "after opening again it is not what was acknowledged");
}
