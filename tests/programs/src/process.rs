//! A program that runs: what it says, and how it ends.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::PATIENCE;

/// A program that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: Heard,
    stderr: Heard,
}

/// What a process has said so far, read to the end so that it is never held up.
#[derive(Debug)]
struct Heard {
    bytes: Arc<Mutex<Vec<u8>>>,
    reading: Option<JoinHandle<()>>,
}

/// How a program ended, and all that it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code or signal.
    pub status: ExitStatus,
    /// What it printed on standard output.
    pub stdout: String,
    /// What it printed on standard error.
    pub stderr: String,
}

impl Process {
    /// Starts it, with nothing to read.
    pub fn start(command: &mut Command) -> Process {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Process { child, stdout: Heard::to(stdout), stderr: Heard::to(stderr) }
    }

    /// What it has printed on standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has printed on standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it has printed this on standard error, and returns all that it has printed
    /// there. It must not end before.
    pub async fn says(&mut self, what: &str) -> String {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let ended = self.has_ended();
            let said = self.stderr();
            if said.contains(what) {
                return said;
            }
            assert!(!ended, "it has ended without saying {what:?}:\n{said}");
            assert!(tokio::time::Instant::now() < end, "it does not say {what:?}:\n{said}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sends it a signal. Does nothing to one that was seen to have ended: its number may be
    /// another's by now.
    pub fn signal(&mut self, signal: Signal) {
        if !self.has_ended() {
            kill_process(Pid::from_child(&self.child), signal).unwrap();
        }
    }

    /// Asks it to stop, as a service manager does. It may have ended meanwhile.
    pub fn terminate(&self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Ended {
        let _ = self.child.kill();
        self.wait()
    }

    /// Asks it to stop. It must end without an error.
    pub async fn stop(mut self) {
        self.terminate();
        let ended = self.ended().await;
        assert_eq!(ended.status.code(), Some(0), "asked to stop: {ended}");
    }

    /// Waits until it ends.
    pub async fn ended(&mut self) -> Ended {
        let end = tokio::time::Instant::now() + PATIENCE;
        while !self.has_ended() {
            assert!(tokio::time::Instant::now() < end, "it does not end:\n{}", self.stderr());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.wait()
    }

    /// The same, for callers that may block.
    pub fn wait(&mut self) -> Ended {
        let status = self.child.wait().unwrap();
        Ended { status, stdout: self.stdout.all(), stderr: self.stderr.all() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("--- a process of the failed test said:\n{}", self.stderr());
        }
    }
}

impl Heard {
    fn to(mut stream: impl Read + Send + 'static) -> Heard {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&bytes);
        let reading = std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut some) {
                heard.lock().unwrap().extend_from_slice(&some[..n]);
            }
        });
        Heard { bytes, reading: Some(reading) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn all(&mut self) -> String {
        if let Some(reading) = self.reading.take() {
            reading.join().unwrap();
        }
        self.text()
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}{}", self.status, self.stdout, self.stderr)
    }
}

/// A program, in an environment without settings of feedkit.
pub fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FEEDKIT_")) {
        command.env_remove(name);
    }
    command
}

/// All that a run said.
pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}
