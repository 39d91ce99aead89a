//! Acknowledged data is on the disk: a sync happens between the write and the acknowledgement.
//!
//! Killing a process does not show that, because the operating system keeps what the process wrote.
//! So this program runs itself under strace, and checks the order of the calls.

use std::collections::HashMap;
use std::process::Command;

use feedkit_test_services::{apply, needs_strace};

use super::acknowledge::{ROUNDS, acknowledge};

/// Tells the program under strace where to work.
const DIRECTORY: &str = "FEEDKIT_TEST_DIRECTORY";

#[tokio::test]
#[ignore = "the test below runs it under strace"]
async fn runs_under_strace() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    acknowledge(directory.as_ref()).await.unwrap();
}

#[apply(needs_strace!)]
#[test]
fn a_sync_lies_between_the_write_and_the_acknowledgement() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let output = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=pwrite64,write,fdatasync,fsync", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "sync::runs_under_strace", "--ignored", "--nocapture"])
        .env(DIRECTORY, dir.path().join("data"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let calls = calls(&String::from_utf8_lossy(&std::fs::read(&trace).unwrap()));
    let expected: Vec<_> = (0..ROUNDS).flat_map(|n| [format!("log {n}"), format!("state {n}")]).collect();
    assert_eq!(check(&calls).unwrap(), expected);

    // The check sees that a sync is missing, whichever it is.
    for acknowledgement in calls.iter().filter(|call| call.is_acknowledgement()) {
        let file = acknowledgement.file();
        let is_sync = |call: &Call| call.what == What::Sync(file.clone()) && call.to < acknowledgement.from;
        let last = calls.iter().rposition(is_sync).unwrap();
        let mut doctored = calls.clone();
        doctored.remove(last);
        let verdict = check(&doctored).unwrap_err();
        assert!(verdict.contains("no sync"), "{verdict}");
    }
}

#[test]
fn the_check_finds_what_is_wrong() {
    let write = r#"7 pwrite64(5</d/log.db-wal>, "x\n"..., 4096, 0) = 4096"#;
    let sync = "7 fdatasync(5</d/log.db-wal>) = 0";
    let acknowledge = r#"6 write(1<pipe:[9]>, "acknowledged log 0\n", 19) = 19"#;
    let verdict = |lines: &[&str]| check(&calls(&lines.join("\n")));
    assert_eq!(verdict(&[write, sync, acknowledge]).unwrap(), ["log 0"]);
    assert!(verdict(&[write, acknowledge]).unwrap_err().contains("no sync"));
    assert!(verdict(&[sync, acknowledge]).unwrap_err().contains("no write"));
    assert!(verdict(&[sync, write, acknowledge]).unwrap_err().contains("no sync"));
    assert!(verdict(&[write, sync, write, acknowledge]).unwrap_err().contains("no sync"));
    assert!(verdict(&[write, acknowledge, sync]).is_err());
    assert!(verdict(&[write, &sync.replace("log.db", "state.db"), acknowledge]).is_err());
    assert!(verdict(&[write, &sync.replace("= 0", "= -1 EIO (Input/output error)"), acknowledge]).is_err());
    // What was written for the acknowledgement before does not count for the next.
    assert!(verdict(&[write, sync, acknowledge, &acknowledge.replace('0', "1")]).is_err());

    // A call that others interrupt in the trace counts from its beginning to its end.
    let (begins, ends) = ("7 fdatasync(5</d/log.db-wal> <unfinished ...>", "7 <... fdatasync resumed>) = 0");
    assert_eq!(verdict(&[write, begins, ends, acknowledge]).unwrap(), ["log 0"]);
    assert!(verdict(&[write, begins, acknowledge, ends]).is_err());
    assert!(verdict(&[begins, write, ends, acknowledge]).is_err());
}

/// Goes through the calls in order; what was acknowledged, or the first acknowledgement that came
/// too early.
fn check(calls: &[Call]) -> Result<Vec<String>, String> {
    let mut acknowledged: Vec<String> = Vec::new();
    let mut since = 0;
    for acknowledgement in calls {
        let What::Acknowledge(what) = &acknowledgement.what else { continue };
        let file = acknowledgement.file();
        let before =
            |call: &&Call| call.from >= since && call.from < acknowledgement.from && call.file() == file;
        let writes = calls.iter().filter(before).filter(|call| matches!(call.what, What::Write(_)));
        let Some(written) = writes.map(|call| call.to).max() else {
            return Err(format!("{what}: no write to {file} before it"));
        };
        let mut syncs = calls.iter().filter(before).filter(|call| matches!(call.what, What::Sync(_)));
        if !syncs.any(|sync| sync.from > written && sync.to < acknowledgement.from) {
            return Err(format!("{what}: no sync of {file} between the last write and it"));
        }
        acknowledged.push(what.clone());
        since = acknowledgement.from;
    }
    Ok(acknowledged)
}

/// A call, by the lines of the trace where it begins and ends.
#[derive(Debug, Clone, PartialEq)]
struct Call {
    from: usize,
    to: usize,
    what: What,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    /// To a file of this name.
    Write(String),
    /// Of a file of this name, and it succeeded.
    Sync(String),
    Acknowledge(String),
}

impl Call {
    /// The file that it is about; of an acknowledgement, where what it says must have been written.
    fn file(&self) -> String {
        match &self.what {
            What::Write(file) | What::Sync(file) => file.clone(),
            What::Acknowledge(what) => format!("{}.db-wal", what.split(' ').next().unwrap_or_default()),
        }
    }

    fn is_acknowledgement(&self) -> bool {
        matches!(self.what, What::Acknowledge(_))
    }
}

/// The calls in strace's output, by where they begin.
fn calls(trace: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(head) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (number, head));
        } else if call.starts_with("<... ") {
            let Some((from, head)) = begun.remove(thread) else { continue };
            calls.extend(what(head, call).map(|what| Call { from, to: number, what }));
        } else {
            calls.extend(what(call, call).map(|what| Call { from: number, to: number, what }));
        }
    }
    calls.sort_by_key(|call| call.from);
    calls
}

/// What the call does that begins as `head` and ends as `tail`.
fn what(head: &str, tail: &str) -> Option<What> {
    let (name, arguments) = head.split_once('(')?;
    let (_, path) = arguments.split_once('<')?;
    let (path, rest) = path.split_once('>')?;
    let file = path.rsplit('/').next().unwrap_or(path).to_owned();
    match name {
        "fsync" | "fdatasync" => tail.trim_end().ends_with("= 0").then_some(What::Sync(file)),
        "write" if arguments.starts_with("1<") => {
            let (_, said) = rest.split_once("acknowledged ")?;
            Some(What::Acknowledge(said.split_once("\\n")?.0.to_owned()))
        }
        "write" | "pwrite64" => Some(What::Write(file)),
        _ => None,
    }
}
