//! A program that runs.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use feedkit_test_services::DEADLINE;
use rustix::process::{Pid, Signal, kill_process};

/// Ends with the test, however that ends.
pub struct Process {
    child: Child,
    /// What has come of standard error so far; read to the end so that it is never held up.
    messages: Arc<Mutex<Vec<u8>>>,
    reading: Option<JoinHandle<()>>,
}

impl Process {
    pub fn start(command: &mut Command) -> Process {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let messages = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&messages);
        let reading = std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut some) {
                heard.lock().unwrap().extend_from_slice(&some[..n]);
            }
        });
        Process { child, messages, reading: Some(reading) }
    }

    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.messages.lock().unwrap()).into_owned()
    }

    /// Waits until it has said this; what it has said then. It may not end before.
    pub async fn says(&mut self, what: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let ended = self.has_ended();
            let said = self.said();
            if said.contains(what) {
                return said;
            }
            assert!(!ended && Instant::now() < deadline, "it does not say {what:?}:\n{said}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop, as a service manager does.
    pub fn terminate(&self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
    }

    /// Waits for it to end by itself; its exit code, or none when it was killed.
    pub async fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                if let Some(reading) = self.reading.take() {
                    reading.join().unwrap();
                }
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("--- a process of the failed test said:\n{}", self.said());
        }
    }
}

/// A program in an environment without settings.
pub fn program(path: &str) -> Command {
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FEEDKIT_")) {
        command.env_remove(name);
    }
    command
}

pub fn gateway() -> Command {
    program(env!("CARGO_BIN_EXE_feedkit-gateway"))
}

/// The processor, which lies beside the gateway once it has been built.
pub fn processor() -> String {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_feedkit-gateway")).with_file_name("feedkit-processor");
    assert!(path.exists(), "build the processor first: cargo build -p feedkit-processor");
    path.to_str().unwrap().to_owned()
}

/// Runs it to its end, without holding up other tests.
pub async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// All that a run said.
pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}
