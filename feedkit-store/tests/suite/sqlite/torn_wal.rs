//! A write-ahead log that a crash has torn.

use std::fs;
use std::path::Path;

use feedkit_core::Positions;
use feedkit_store::sqlite::Sqlite;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::support::*;

const SENDS: usize = 40;

/// The values in a directory, once it is opened for writing.
async fn survivors(dir: &Path) -> (Sqlite, Vec<String>) {
    let store = open(dir).await;
    let records = read_from(&store, &Positions::new()).await;
    let mut values: Vec<_> =
        records.into_iter().map(|(_, r)| String::from_utf8(r.value.to_vec()).unwrap()).collect();
    values.sort();
    (store, values)
}

fn values(sends: usize) -> Vec<String> {
    (0..sends).flat_map(|send| (0..3).map(move |n| format!("{send:03}-{n}"))).collect()
}

/// After a crash of the machine, the end of the WAL may be missing or have any content. Everything
/// that was synced before must survive.
#[tokio::test(flavor = "multi_thread")]
async fn whole_transactions_before_a_tear_survive() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let wal = dir.path().join("log.db-wal");
    // The length of the WAL after each acknowledged send.
    let mut lengths = vec![fs::metadata(&wal).unwrap().len()];
    for send_number in 0..SENDS {
        let batch = (0..3).map(|n| record(&format!("u{n}"), format!("{send_number:03}-{n}"))).collect();
        send(&store, batch).await;
        lengths.push(fs::metadata(&wal).unwrap().len());
    }
    assert!(lengths.is_sorted(), "the WAL was moved into the database during the test");

    let (_, all) = survivors(copy_live(dir.path()).path()).await;
    assert_eq!(all, values(SENDS));

    let seed = 11;
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for round in 0..30 {
        let copy = copy_live(dir.path());
        let torn = copy.path().join("log.db-wal");
        let mut bytes = fs::read(&torn).unwrap();
        let at = random.random_range(lengths[0]..lengths[SENDS]);
        let place = usize::try_from(at).unwrap();
        let what = match round % 3 {
            0 => {
                bytes.truncate(place);
                "cut"
            }
            1 => {
                bytes[place] ^= 0x40;
                "flipped"
            }
            _ => {
                random.fill_bytes(&mut bytes[place..]);
                "overwritten"
            }
        };
        fs::write(&torn, bytes).unwrap();
        let whole = lengths[1..].iter().filter(|length| **length <= at).count();
        let (store, found) = survivors(copy.path()).await;
        assert_eq!(found, values(whole), "{what} at {at}, round {round}");
        // The log continues from there.
        send(&store, vec![record("u0", format!("{whole:03}-0"))]).await;
        store.close().await;
        drop(store);
        let (_, found) = survivors(copy.path()).await;
        assert_eq!(found.len(), whole * 3 + 1);
    }
}
