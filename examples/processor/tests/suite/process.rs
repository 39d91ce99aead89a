//! A processor as a process: its address, its answers, its end.

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use feedkit_test_services::DEADLINE;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdout: Heard,
    stderr: Heard,
}

/// What a process has said so far, read to the end so that it is never held up.
struct Heard {
    bytes: Arc<Mutex<Vec<u8>>>,
    reading: Option<JoinHandle<()>>,
}

/// How it ended, and all that it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Process {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Process { child, stdout: Heard::to(stdout), stderr: Heard::to(stderr) }
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Where it answers, once it runs. `None` if it ends before that.
    pub(crate) async fn address(&mut self) -> Option<SocketAddr> {
        let end = tokio::time::Instant::now() + DEADLINE;
        loop {
            let said = self.stderr();
            if let Some((_, rest)) = said.split_once("health and metrics on http://")
                && let Some((address, _)) = rest.split_once('\n')
            {
                return Some(address.trim().parse().unwrap());
            }
            if self.has_ended() {
                return None;
            }
            assert!(tokio::time::Instant::now() < end, "it does not run:\n{said}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until it has said this on standard error.
    pub(crate) async fn says(&mut self, what: &str) {
        let end = tokio::time::Instant::now() + DEADLINE;
        while !self.stderr().contains(what) {
            assert!(!self.has_ended(), "it has ended without saying {what:?}:\n{}", self.stderr());
            assert!(tokio::time::Instant::now() < end, "it does not say {what:?}:\n{}", self.stderr());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Without effect on one that has ended: its number may be another's by now.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if !self.has_ended() {
            kill_process(Pid::from_child(&self.child), signal).unwrap();
        }
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) -> Ended {
        self.signal(Signal::KILL);
        self.ended().await
    }

    /// Asks it to stop, as a service manager does; it must end well.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::TERM);
        let ended = self.ended().await;
        assert_eq!(ended.status.code(), Some(0), "asked to stop: {ended}");
    }

    /// Waits for it to end.
    pub(crate) async fn ended(mut self) -> Ended {
        let end = tokio::time::Instant::now() + DEADLINE;
        while !self.has_ended() {
            assert!(tokio::time::Instant::now() < end, "it does not end:\n{}", self.stderr());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = self.child.wait().unwrap();
        Ended { status, stdout: self.stdout.all(), stderr: self.stderr.all() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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

/// What `GET path` answers: status and body.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
    Some((status, body.to_owned()))
}

/// Whether it is ready, and what it is made of.
pub(crate) async fn readiness(address: SocketAddr) -> Option<(bool, Value)> {
    let (status, body) = get(address, "/health/ready").await?;
    Some((status == 200, serde_json::from_str(&body).unwrap()))
}
