//! `feedkit serve` as a process, and tokens for it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use feedkit_test_programs::{Ended, PATIENCE, Process, Served, claims};

use crate::program::{Place, said};

/// A server that listens.
pub(crate) struct Server {
    process: Process,
    pub(crate) address: SocketAddr,
    data: PathBuf,
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
        let mut process = Process::start(command);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = process.has_ended();
            if let Some(address) = process.stdout().split_inclusive('\n').find_map(listening_at) {
                return Ok(Server { process, address, data: data.to_owned() });
            }
            if ended {
                return Err(output(process.wait()));
            }
            assert!(Instant::now() < deadline, "it does not listen: {}", process.kill());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until it has said this on standard error.
    pub(crate) fn says(&self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.process.stderr().contains(what) {
            assert!(Instant::now() < deadline, "it does not say {what:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.process.kill();
    }

    /// Asks it to stop, as a service manager does. It may have died meanwhile.
    pub(crate) fn terminate(&self) {
        self.process.terminate();
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
        output(self.process.wait())
    }
}

fn output(ended: Ended) -> Output {
    Output { status: ended.status, stdout: ended.stdout.into(), stderr: ended.stderr.into() }
}

impl Served for Server {
    fn address(&self) -> SocketAddr {
        self.address
    }

    /// A token, signed here with the secret that the server has made.
    fn token(&self, user: &str, roles: &[&str], scopes: &[&str]) -> String {
        let secret = std::fs::read_to_string(self.data.join("jwt-secret")).unwrap();
        feedkit_test_programs::token(secret.trim_end(), &claims(user, roles, scopes))
    }
}

/// The address in the line that names the page. The line may not have come completely yet.
fn listening_at(line: &str) -> Option<SocketAddr> {
    let (_, url) = line.strip_suffix('\n')?.trim_start().strip_prefix("Page ")?.split_once("http://")?;
    url.split('/').next()?.parse().ok()
}
