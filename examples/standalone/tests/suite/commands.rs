//! Each command, its answers and its complaints.

use std::io::Write;
use std::process::Stdio;

use feedkit_core::traffic::TrafficOptions;
use serde_json::{Value, json};

use crate::program::{Place, arg, said};

/// Two users like p1, one of them comments; one line is not an event.
const LINES: &str = r#"{"userId":"ann","postId":"p1","type":"post","text":"first!","timestamp":"2026-03-01T10:00:00Z"}
{"userId":"bob","postId":"p1","type":"like","timestamp":"2026-03-01T10:01:00Z"}

{"userId":"cid","postId":"p1","type":"like"}
{"userId":"cid","postId":"p1","type":"like"}
{"userId":"cid","postId":"p2","type":"like"}
{"userId":"bob","postId":"p1","type":"comment","text":"so\u001b[31m true","timestamp":"2026-03-02T10:00:00Z"}
{"userId":"bob","postId":"p 1","type":"like"}
nonsense
"#;

fn with_lines() -> (Place, String) {
    let place = Place::new();
    let file = place.path("events.jsonl");
    std::fs::write(&file, LINES).unwrap();
    let file = arg(&file).to_owned();
    (place, file)
}

#[test]
fn a_file_goes_through_and_can_be_asked_for() {
    let (place, file) = with_lines();
    let summary = place.json(&["replay", &file]);
    for (field, value) in
        [("read", 8), ("accepted", 6), ("rejected", 2), ("duplicates", 0), ("effects", 5), ("alerts", 0)]
    {
        assert_eq!(summary[field], value, "{field} of {summary}");
    }
    assert_eq!(place.json(&["top"]), json!([{"postId": "p1", "likes": 2}, {"postId": "p2", "likes": 1}]));
    let trending = place.json(&["top", "--by", "trending", "-n", "1"]);
    assert_eq!(trending[0]["postId"], "p1");
    let post = place.json(&["post", "p1"]);
    assert_eq!((&post["author"], &post["likes"], &post["comments"]), (&json!("ann"), &json!(2), &json!(1)));
    assert_eq!(post["activity"][0], json!({"start": "2026-03-01T00:00:00Z", "counts": {"like": 2}}));
    let rejected = place.json(&["rejected"]);
    let mut reasons: Vec<_> =
        rejected.as_array().unwrap().iter().map(|r| (&r["reason"], &r["field"])).collect();
    reasons.sort_by_key(|(reason, _)| reason.to_string());
    assert_eq!(reasons, [(&json!("invalid"), &json!("postId")), (&json!("malformed"), &Value::Null)]);
    assert_eq!(place.json(&["verify"])["differences"], json!([]));
    place.run(&["rebuild"]);
    assert_eq!(place.json(&["top", "-n", "1"]), json!([{"postId": "p1", "likes": 2}]));
    assert_eq!(place.json(&["alerts"]), json!([]));
}

#[test]
fn tables_show_the_same_and_do_not_steer_the_terminal() {
    let (place, file) = with_lines();
    let table = place.run(&["replay", &file]);
    assert!(table.contains("accepted") && table.contains("events/s"), "{table}");
    let post = place.run(&["post", "p1"]);
    assert!(post.contains("p1 by ann: 1 comment, 2 like") && !post.contains('\u{1b}'), "{post}");
    assert!(place.run(&["top"]).contains("p2"));
    assert!(place.run(&["rejected"]).contains("nonsense"));
    assert!(place.run(&["verify"]).contains("all is right"));
}

#[test]
fn a_second_replay_changes_nothing() {
    let place = Place::new();
    let config = TrafficOptions::default().seed(5).count(3_000).without_id(0.5).without_time(0.3);
    let file = place.traffic("t.jsonl", &config);
    let first = place.json(&["replay", arg(&file)]);
    let before = (place.json(&["top", "-n", "1000"]), place.json(&["alerts"]));
    let second = place.json(&["replay", arg(&file)]);
    assert_eq!(second["accepted"], 0);
    assert_eq!(second["effects"], 0);
    assert_eq!(second["rejected"], first["rejected"]);
    let n = |v: &Value, f: &str| v[f].as_u64().unwrap();
    assert_eq!(n(&second, "duplicates"), n(&first, "accepted") + n(&first, "duplicates"));
    assert_eq!(n(&first, "read"), n(&first, "accepted") + n(&first, "rejected") + n(&first, "duplicates"));
    assert_eq!((place.json(&["top", "-n", "1000"]), place.json(&["alerts"])), before);
    place.run(&["verify"]);
}

#[test]
fn standard_input_and_samples_work() {
    let place = Place::new();
    let sample = place.run(&["sample", "-n", "500", "--seed", "3"]);
    assert_eq!(sample.lines().count(), 500);
    assert_eq!(sample, place.run(&["sample", "-n", "500", "--seed", "3"]));
    let mut replay = place
        .feedkit(&["replay", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    replay.stdin.take().unwrap().write_all(sample.as_bytes()).unwrap();
    let output = replay.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["read"], 500);
}

#[test]
fn speed_is_the_events_own() {
    let place = Place::new();
    let file = place.path("slow.jsonl");
    let line = |second: u32| {
        format!(
            "{{\"userId\":\"u\",\"postId\":\"p{second}\",\"type\":\"like\",\"timestamp\":\"2026-03-01T10:00:{second:02}Z\"}}\n"
        )
    };
    std::fs::write(&file, [line(0), line(10), line(20)].concat()).unwrap();
    let summary = place.json(&["replay", "--speed", "20", arg(&file)]);
    // Twenty seconds at twenty times their pace: no less than one, however fast the machine is.
    assert!(summary["seconds"].as_f64().unwrap() >= 1.0, "{summary}");
    assert_eq!(summary["accepted"], 3);
}

#[test]
fn what_is_wrong_is_said() {
    let (place, file) = with_lines();
    let missing = place.fails(1, &["top"]);
    assert!(missing.contains("data") && missing.contains("replay"), "{missing}");
    assert!(place.fails(1, &["replay", "no-such-file.jsonl"]).contains("no-such-file.jsonl"));
    assert!(!place.data().exists(), "a wrong name left a directory behind");
    assert!(place.fails(1, &["replay", arg(place.path("").as_path())]).contains("directory"));
    place.fails(2, &["replay"]);
    place.fails(2, &["replay", "--speed", "0", &file]);
    place.fails(2, &["no-such-command"]);
    place.run(&["replay", &file]);
    assert!(place.fails(1, &["post", "nobody-knows"]).contains("nobody-knows"));
    place.fails(2, &["post", "no/id"]);
    let version = place.run(&["--version"]);
    assert_eq!(version.trim(), format!("feedkit {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn configuration_names_the_key_at_fault() {
    let (place, file) = with_lines();
    let config = place.path("feedkit.toml");
    for (text, named) in [
        ("[retention]\nevents_day = 3\n", "events_day"),
        ("[retention]\nevents_days = 0\n", "retention.events_days"),
        ("[retention]\njournal_days = 0\n", "retention.journal_days"),
        ("[events]\nextra_kinds = [\"Share\"]\n", "Share"),
        ("[rules.spike]\nno_such = 1\n", "no_such"),
        ("data = 3\n", "data"),
        ("data = \n", "feedkit.toml"),
    ] {
        std::fs::write(&config, text).unwrap();
        let said = place.fails(2, &["--config", arg(&config), "replay", &file]);
        assert!(said.contains(named), "{text:?}: {said}");
    }
    std::fs::write(&config, "[events]\nextra_kinds = [\"share\"]\n").unwrap();
    let share = place.path("share.jsonl");
    std::fs::write(&share, r#"{"userId":"a","postId":"p","type":"share"}"#).unwrap();
    assert_eq!(place.json(&["replay", arg(&share)])["rejected"], 1);
    std::fs::write(&share, r#"{"userId":"b","postId":"p","type":"share"}"#).unwrap();
    assert_eq!(place.json(&["--config", arg(&config), "replay", arg(&share)])["accepted"], 1);
    assert_eq!(place.json(&["post", "p"])["counts"], json!({"share": 1}));
}

#[test]
fn one_writer_at_a_time_and_readers_beside_it() {
    let (place, file) = with_lines();
    place.run(&["replay", &file]);
    let mut writer = place
        .feedkit(&["replay", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Until the writer has the directory, the reader or the second writer may still get through.
    let lock = place.data().join("lock");
    while std::fs::read_to_string(&lock).unwrap_or_default().trim() != writer.id().to_string() {
        assert!(writer.try_wait().unwrap().is_none(), "the writer ended");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let second = place.fails(1, &["replay", &file]);
    assert!(second.contains("in use") && second.contains(&writer.id().to_string()), "{second}");
    assert_eq!(place.json(&["top", "-n", "1"])[0]["likes"], 2);
    drop(writer.stdin.take());
    assert!(writer.wait().unwrap().success());
}

#[test]
fn data_of_a_newer_version_is_left_alone() {
    let (place, file) = with_lines();
    place.run(&["replay", &file]);
    for name in ["state.db", "log.db"] {
        let path = place.data().join(name);
        let connection = rusqlite::Connection::open(&path).unwrap();
        let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        for args in [&["top"][..], &["replay", &file]] {
            let said = place.fails(1, args);
            assert!(said.contains("newer") && said.contains("99"), "{said}");
        }
        connection.pragma_update(None, "user_version", version).unwrap();
    }
    place.run(&["verify"]);
}
