//! Whatever comes in, and whenever it is stopped: what can be counted is counted, once.

use std::fs;
use std::io::Write;
use std::process::{Child, Stdio};

use feedkit_core::traffic::TrafficOptions;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::program::{Place, arg, said};

const LIKE: &str = r#"{"userId":"ann","postId":"p1","type":"like"}"#;

#[test]
fn any_bytes_are_counted_or_rejected() {
    let seed = rand::rng().next_u64() >> 16;
    println!("seed {seed}");
    let mut noise = vec![0; 200_000];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut noise);
    let noise_lines = noise.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
    let comment =
        |text: &str| format!(r#"{{"userId":"ann","postId":"p1","type":"comment","text":"{text}"}}"#);
    let utf16: Vec<u8> = format!("\u{feff}{LIKE}\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let deep = |field: &str| {
        let (opened, closed) = ("[".repeat(100_000), "]".repeat(100_000));
        format!(r#"{{"userId":"ann","postId":"p1","type":"like","{field}":{opened}1{closed}}}"#)
    };
    let bom = format!("\u{feff}{LIKE}\n");
    // What the file holds; lines read; accepted; rejected.
    let cases: Vec<(&str, Vec<u8>, usize, usize, usize)> = vec![
        ("random bytes", noise, noise_lines, 0, noise_lines),
        ("3 MB in a line", format!("{}\n{LIKE}\n", comment(&"x".repeat(3 << 20))).into(), 2, 1, 1),
        ("3 MB without a line end", vec![b'x'; 3 << 20], 1, 0, 1),
        ("NULs", format!("\0\0\0\n{}\n{LIKE}\n", comment(r"a\u0000b")).into(), 3, 1, 2),
        ("CRLF", format!("{LIKE}\r\n\r\n{}\r\n", comment("x")).into(), 2, 2, 0),
        // The last line is what UTF-16 leaves after its line end.
        ("UTF-16", utf16, 2, 0, 2),
        ("a byte order mark", bom.into(), 1, 1, 0),
        ("nothing", Vec::new(), 0, 0, 0),
        ("blank lines", b"\n \n\t\r\n".to_vec(), 0, 0, 0),
        // Unknown fields are passed over, however deep.
        ("deep nesting", format!("{}\n{LIKE}\n", deep("more")).into(), 2, 2, 0),
        ("deep nesting of what is known", format!("{}\n{LIKE}\n", deep("attributes")).into(), 2, 1, 1),
        ("no line end", LIKE.into(), 1, 1, 0),
    ];
    for (what, bytes, read, accepted, rejected) in cases {
        let place = Place::new();
        let file = place.path("input");
        fs::write(&file, bytes).unwrap();
        let output = place.feedkit(&["replay", "--json", arg(&file)]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{what}: {}", said(&output));
        assert!(!said(&output).contains("panicked"), "{what}: {}", said(&output));
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let counts = ["read", "accepted", "rejected"].map(|name| summary[name].as_u64().unwrap() as usize);
        assert_eq!(counts, [read, accepted, rejected], "{what}: {summary}");
        place.run(&["rejected"]);
        place.run(&["verify"]);
    }
}

#[test]
fn a_signal_ends_it_and_the_same_command_completes_it() {
    let config = TrafficOptions::default().seed(4).count(2_000);
    let calm = Place::new();
    let file = calm.traffic("events.jsonl", &config);
    let summary = calm.json(&["replay", arg(&file)]);
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let place = Place::new();
        // At their own pace the events would take hours.
        let replay = started(&place, &["replay", "--speed", "1", arg(&file)]);
        interrupted(replay, signal);
        place.run(&["replay", arg(&file)]);
        assert_eq!(place.json(&["top", "-n", "10000"]), calm.json(&["top", "-n", "10000"]));
        assert_eq!(place.json(&["verify"])["events"], summary["accepted"]);
    }
}

#[test]
fn a_signal_ends_it_while_it_waits_for_input() {
    let place = Place::new();
    let mut replay = started(&place, &["replay", "-"]);
    let mut input = replay.stdin.take().unwrap();
    writeln!(input, "{LIKE}").unwrap();
    interrupted(replay, rustix::process::Signal::TERM);
    drop(input);
    place.run(&["verify"]);
}

/// A program that has the directory, and will hear a signal.
fn started(place: &Place, args: &[&str]) -> Child {
    let mut child = place
        .feedkit(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !place.data().join("log.db-wal").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child
}

fn interrupted(child: Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("run the same command again"), "{}", said(&output));
}
