//! `feedkit serve` as a process, and tokens for it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jsonwebtoken::{EncodingKey, Header};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::http::{PATIENCE, Served};
use crate::program::{Place, said};

/// A server that listens.
pub(crate) struct Server {
    child: Running,
    pub(crate) address: SocketAddr,
    data: PathBuf,
    output: Reading,
}

/// Ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both without effect on one that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a process says, read to the end so that it is never held up.
struct Reading {
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<()>,
    /// What has come of standard error so far.
    messages: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    /// Serves a place's data on a free port, without limits.
    pub(crate) fn of(place: &Place) -> Self {
        Self::with(place, &[])
    }

    pub(crate) fn with(place: &Place, args: &[&str]) -> Self {
        let mut command = place.feedkit(&["serve", "--listen", "127.0.0.1:0", "--rate-limit", "0"]);
        Self::start(command.args(args), &place.data()).unwrap_or_else(|output| panic!("{}", said(&output)))
    }

    /// Runs the command until it listens; what it said, if it ends before that.
    pub(crate) fn start(command: &mut Command, data: &Path) -> Result<Self, Output> {
        let mut child = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let (stdout, mut stderr) = (child.0.stdout.take().unwrap(), child.0.stderr.take().unwrap());
        let (found, address) = mpsc::channel();
        let stdout = std::thread::spawn(move || {
            let mut all = Vec::new();
            let mut lines = BufReader::new(stdout);
            let mut from = 0;
            while lines.read_until(b'\n', &mut all).is_ok_and(|n| n > 0) {
                // Who starts it may not wait any more.
                let _ = listening_at(&all[from..]).is_some_and(|at| found.send(at).is_ok());
                from = all.len();
            }
            all
        });
        let messages = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&messages);
        let stderr = std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut some) {
                heard.lock().unwrap().extend_from_slice(&some[..n]);
            }
        });
        let output = Reading { stdout, stderr, messages };
        match address.recv_timeout(PATIENCE) {
            Ok(address) => Ok(Server { child, address, data: data.to_owned(), output }),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = child.0.wait().unwrap();
                Err(output.read(status))
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.0.kill().unwrap();
                let status = child.0.wait().unwrap();
                panic!("it does not listen: {}", said(&output.read(status)));
            }
        }
    }

    /// Waits until it has said this on standard error.
    pub(crate) fn says(&self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !String::from_utf8_lossy(&self.output.messages.lock().unwrap()).contains(what) {
            assert!(Instant::now() < deadline, "it does not say {what:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.0.try_wait().unwrap().is_some()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.0.kill().unwrap();
        self.ended();
    }

    /// Asks it to stop, as a service manager does. It may have died meanwhile.
    pub(crate) fn terminate(&self) {
        let _ = kill_process(Pid::from_child(&self.child.0), Signal::TERM);
    }

    /// Asks it to stop; it must end well.
    pub(crate) fn stop(self) -> String {
        self.terminate();
        let output = self.ended();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits for it to end by itself.
    pub(crate) fn ended(mut self) -> Output {
        let status = self.child.0.wait().unwrap();
        self.output.read(status)
    }
}

impl Served for Server {
    fn address(&self) -> SocketAddr {
        self.address
    }

    /// A token, signed here with the secret that the server has made.
    fn token(&self, user: &str, roles: &[&str], scopes: &[&str]) -> String {
        let secret = std::fs::read_to_string(self.data.join("jwt-secret")).unwrap();
        let hour = feedkit_core::Clock::now(&feedkit_core::SystemClock).as_millis() / 1000 + 3600;
        let claims = json!({"sub": user, "exp": hour, "roles": roles, "scope": scopes.join(" ")});
        let key = EncodingKey::from_secret(secret.trim_end().as_bytes());
        jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
    }
}

impl Reading {
    fn read(self, status: ExitStatus) -> Output {
        let stdout = self.stdout.join().unwrap();
        self.stderr.join().unwrap();
        let stderr = self.messages.lock().unwrap().clone();
        Output { status, stdout, stderr }
    }
}

/// The address in the line that names the page.
fn listening_at(line: &[u8]) -> Option<SocketAddr> {
    let line = std::str::from_utf8(line).ok()?;
    let (_, url) = line.trim_start().strip_prefix("Page ")?.split_once("http://")?;
    url.split(['/', '\n']).next()?.parse().ok()
}
