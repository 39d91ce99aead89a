//! How the program handles disks: full, torn, read-only, half gone. It never loses data silently,
//! and it says what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use feedkit_core::Partition;
use feedkit_core::traffic::TrafficOptions;
use feedkit_store::sqlite::USER_ACTIONS;
use feedkit_test_programs::PATIENCE;
use feedkit_test_services::{Tmpfs, apply, needs_tmpfs};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::program::{Place, arg, said};

#[apply(needs_tmpfs!)]
#[test]
fn a_full_disk_is_waited_out() {
    let full = FullDisk::new();
    let (mut replay, messages) = full.stuck();
    let since = Instant::now();
    // By then every part of the pipeline has tried again several times.
    replay.writes_again(40, &messages);
    let warned = fs::read_to_string(&messages).unwrap();
    // Each cause is told once in ten seconds, by whichever part it is met.
    let most = since.elapsed().as_secs() / 10 + 1;
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, cause) in warned.lines().filter_map(|line| line.split_once("error=")) {
        *causes.entry(cause).or_default() += 1;
    }
    assert!(causes.values().all(|told| *told <= most), "{warned}");
    let warning = warned.lines().find(|line| line.contains("is full")).unwrap();
    let data = full.place.data();
    assert!(warning.contains(arg(&data)) && warning.contains("nothing was changed or lost"), "{warning}");

    full.make_room();
    assert!(replay.0.wait().unwrap().success(), "{}", fs::read_to_string(&messages).unwrap());
    full.calm.agrees_with(&full.place);
}

#[apply(needs_tmpfs!)]
#[test]
fn killed_on_a_full_disk_it_goes_on_when_there_is_room() {
    let full = FullDisk::new();
    let (mut replay, _) = full.stuck();
    replay.0.kill().unwrap();
    replay.0.wait().unwrap();
    full.make_room();
    full.place.run(&["replay", arg(&full.calm.file)]);
    full.calm.agrees_with(&full.place);
}

#[apply(needs_tmpfs!)]
#[test]
fn on_a_full_disk_it_can_be_stopped() {
    let full = FullDisk::new();
    let (mut replay, messages) = full.stuck();
    let pid = rustix::process::Pid::from_child(&replay.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(replay.0.wait().unwrap().code(), Some(1));
    let messages = fs::read_to_string(messages).unwrap();
    assert!(messages.contains("run the same command again"), "{messages}");
    full.make_room();
    full.place.run(&["replay", arg(&full.calm.file)]);
    full.calm.agrees_with(&full.place);
}

#[apply(needs_tmpfs!)]
#[test]
fn started_on_a_full_disk_it_says_so() {
    let disk = Tmpfs::mount(1 << 20);
    let place = Place::within(disk.path());
    let ballast = disk.path().join("ballast");
    // The file system takes as much as there is room for.
    assert!(fs::write(&ballast, vec![1; 2 << 20]).is_err());
    let calm = Calm::new(100);
    for _ in 0..2 {
        let told = place.fails(1, &["replay", arg(&calm.file)]);
        assert!(told.contains("is full") || told.contains("No space left"), "{told}");
        assert!(told.contains(arg(&place.data())) && told.contains("run the same command again"), "{told}");
    }
    fs::remove_file(ballast).unwrap();
    place.run(&["replay", arg(&calm.file)]);
    calm.agrees_with(&place);
}

#[test]
fn a_torn_write_ahead_log_loses_no_event() {
    let seed = rand::rng().next_u64() >> 16;
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let calm = Calm::new(4_000);
    let replay = ["replay", arg(&calm.file)];
    let (mut refused, mut went_on) = (0, 0);
    for round in 0..12 {
        let place = Place::new();
        let stage = ["after-commit:3", "before-commit:4", "alert-step:1"][random.random_range(0..3)];
        let killed = place.feedkit(&replay).env("FEEDKIT_FAILPOINT", stage).output().unwrap();
        assert_eq!(killed.status.code(), None, "{}", said(&killed));
        let file = ["log.db-wal", "state.db-wal"][round % 2];
        // The index does not outlive a crash of the machine.
        remove_indexes(&place);
        let what = tear(&place.data().join(file), round / 2 % 3, &mut random);
        let again = place.feedkit(&replay).output().unwrap();
        let told = format!("round {round}, {file} {what} after {stage}: {}", said(&again));
        if again.status.success() {
            went_on += 1;
            calm.agrees_with(&place);
            continue;
        }
        // The log lost what the history had counted already, which a disk that syncs never does.
        refused += 1;
        assert_eq!((again.status.code(), file), (Some(1), "log.db-wal"), "{told}");
        assert!(told.contains("reading should resume at offset") && told.contains("the log holds"), "{told}");
        place.run(&["verify"]);
    }
    println!("{went_on} went on, {refused} were refused");
    assert!(went_on >= 6, "those whose log is whole must go on");
}

#[apply(needs_tmpfs!)]
#[test]
fn a_read_only_directory_can_be_asked_and_stays_as_it_is() {
    let disk = Tmpfs::mount(64 << 20);
    let calm = Calm::new(500);
    let place = Place::within(disk.path());
    place.run(&["replay", arg(&calm.file)]);
    let killed = Place::within(disk.path());
    let stop =
        killed.feedkit(&["replay", arg(&calm.file)]).env("FEEDKIT_FAILPOINT", "after-commit:2").output();
    assert_eq!(stop.unwrap().status.code(), None);
    // As in a copy or a backup.
    remove_indexes(&killed);
    let before = [contents(&place.data()), contents(&killed.data())];
    disk.make_read_only();

    assert_eq!(place.json(&["top", "-n", "100000"]), calm.totals);
    place.json(&["alerts"]);
    place.json(&["rejected"]);
    place.run(&["verify"]);
    for args in [&["replay", arg(&calm.file)][..], &["rebuild"]] {
        let told = place.fails(1, args);
        assert!(told.contains("cannot be written") && told.contains(arg(&place.data())), "{told}");
    }
    // Data that was not moved into the database yet is not ignored.
    for command in ["top", "verify", "alerts"] {
        let told = killed.fails(1, &[command]);
        assert!(told.contains("-wal") && told.contains("copy both"), "{told}");
    }
    assert_eq!([contents(&place.data()), contents(&killed.data())], before);
    disk.make_writable();
    killed.run(&["replay", arg(&calm.file)]);
    calm.agrees_with(&killed);
}

#[test]
fn a_state_that_is_gone_is_made_from_the_log() {
    let calm = Calm::new(3_000);
    let place = Place::new();
    place.run(&["replay", arg(&calm.file)]);
    remove(&place, "state.db");
    let told = place.fails(1, &["top"]);
    assert!(told.contains("replay"), "{told}");
    place.run(&["replay", "/dev/null"]);
    calm.agrees_with(&place);
}

#[test]
fn a_log_made_anew_under_an_old_state_is_noticed() {
    let calm = Calm::new(3_000);
    let place = Place::new();
    place.run(&["replay", arg(&calm.file)]);
    remove(&place, "log.db");
    // Twice: the first try must not have written anything that makes the second seem right.
    for _ in 0..2 {
        let told = place.fails(1, &["replay", arg(&calm.file)]);
        assert!(told.contains("recreated: reading should resume at offset"), "{told}");
        assert!(told.contains("the log holds") && told.contains("move state.db away"), "{told}");
    }
    // The counts are still right.
    place.run(&["verify"]);
    assert_eq!(place.json(&["top", "-n", "100000"]), calm.totals);

    // And what it says to do helps.
    remove(&place, "state.db");
    place.run(&["replay", arg(&calm.file)]);
    calm.agrees_with(&place);
}

/// What a run in peace comes to.
struct Calm {
    place: Place,
    file: PathBuf,
    totals: Value,
    accepted: Value,
}

impl Calm {
    fn new(count: u64) -> Calm {
        let place = Place::new();
        // All of it is in the lines, nothing follows from when and from where they came: so logs
        // can be compared.
        let config = TrafficOptions::default()
            .seed(9)
            .count(count)
            .malformed(0.01)
            .repeats(0.02)
            .without_id(0.0)
            .without_time(0.0);
        let file = place.traffic("events.jsonl", &config);
        let accepted = place.json(&["replay", arg(&file)])["accepted"].clone();
        let totals = place.json(&["top", "-n", "100000"]);
        Calm { place, file, totals, accepted }
    }

    /// The same events are counted at `other`, and its log holds the same records, each at a
    /// position of its own.
    fn agrees_with(&self, other: &Place) {
        assert_eq!(other.json(&["top", "-n", "100000"]), self.totals);
        assert_eq!(other.json(&["verify"])["events"], self.accepted);
        assert!(logged(&other.data()) == logged(&self.place.data()), "the logs hold different records");
    }
}

/// The records in a log, without repeats; there are no holes between them.
fn logged(data: &Path) -> BTreeSet<Vec<u8>> {
    let records = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = crate::oracle::open(data).await;
        crate::oracle::logged(&store, USER_ACTIONS).await
    });
    let mut next: BTreeMap<Partition, u64> = BTreeMap::new();
    for (partition, record) in &records {
        let expected = next.entry(*partition).or_default();
        assert_eq!(record.offset, *expected, "partition {partition}");
        *expected += 1;
    }
    records.into_iter().map(|(_, record)| record.value.to_vec()).collect()
}

/// A disk with a ballast that leaves less room than the events need.
struct FullDisk {
    calm: Calm,
    place: Place,
    disk: Tmpfs,
}

impl FullDisk {
    fn new() -> FullDisk {
        let size = 96 << 20;
        let disk = Tmpfs::mount(size);
        fs::write(disk.path().join("ballast"), vec![1; (size - (4 << 20)) as usize]).unwrap();
        FullDisk { calm: Calm::new(30_000), place: Place::within(disk.path()), disk }
    }

    /// A replay that has found the disk full, and where its messages go.
    fn stuck(&self) -> (Running, PathBuf) {
        let messages = self.calm.place.path("messages");
        let mut replay = self
            .place
            .feedkit(&["replay", arg(&self.calm.file)])
            .stdout(Stdio::null())
            .stderr(File::create(&messages).unwrap())
            .spawn()
            .unwrap();
        while !fs::read_to_string(&messages).unwrap().contains("is full") {
            assert!(
                replay.try_wait().unwrap().is_none(),
                "ended: {}",
                fs::read_to_string(&messages).unwrap()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        (Running(replay), messages)
    }

    fn make_room(&self) {
        fs::remove_file(self.disk.path().join("ballast")).unwrap();
    }
}

/// A program that does not outlive a test that fails.
struct Running(Child);

impl Running {
    /// Waits until it has made calls that write in this many moments since it last printed a
    /// message.
    fn writes_again(&mut self, times: usize, messages: &Path) {
        let io = format!("/proc/{}/io", self.0.id());
        let calls = || {
            let counts = fs::read_to_string(&io).unwrap();
            counts.lines().find(|line| line.starts_with("syscw: ")).unwrap().to_owned()
        };
        let deadline = Instant::now() + PATIENCE;
        let (mut seen, mut printed, mut moments) = (calls(), 0, 0);
        while moments < times {
            let said = fs::read_to_string(messages).unwrap();
            assert!(self.0.try_wait().unwrap().is_none(), "ended: {said}");
            assert!(Instant::now() < deadline, "it does not try again: {said}");
            if said.len() > printed {
                (printed, moments) = (said.len(), 0);
            }
            let now = calls();
            moments += usize::from(now != seen);
            seen = now;
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Damages the last third of a file.
fn tear(path: &Path, how: usize, random: &mut ChaCha8Rng) -> String {
    let mut bytes = fs::read(path).unwrap();
    let at = random.random_range(bytes.len() * 2 / 3..bytes.len());
    let what = match how {
        0 => {
            bytes.truncate(at);
            "cut"
        }
        1 => {
            bytes[at] ^= 0x40;
            "flipped"
        }
        _ => {
            random.fill_bytes(&mut bytes[at..]);
            "overwritten"
        }
    };
    fs::write(path, bytes).unwrap();
    format!("{what} at {at}")
}

fn remove_indexes(place: &Place) {
    for name in ["log.db-shm", "state.db-shm"] {
        fs::remove_file(place.data().join(name)).unwrap();
    }
}

/// Removes a database with what belongs to it.
fn remove(place: &Place, name: &str) {
    for ending in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(place.data().join(format!("{name}{ending}")));
    }
    assert!(!place.data().join(name).exists());
}

/// The bytes of a directory's files, but for the index of a WAL.
fn contents(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| !arg(path).ends_with("-shm"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}
