//! A PostgreSQL server that one test starts for itself.

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::{free_port, postgres_programs};

/// A PostgreSQL server that a test may stop and configure. It runs until this value is dropped.
#[derive(Debug)]
pub struct PostgresServer {
    dir: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
    options: String,
}

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The server closes all connections.
    Fast,
    /// The server stops as if the machine had lost power.
    Immediate,
}

impl PostgresServer {
    /// Starts one with more options.
    pub fn start(options: &str) -> PostgresServer {
        Self::start_with(options, |_| ())
    }

    /// The same. `prepare` gets the data directory before the start.
    pub fn start_with(options: &str, prepare: impl FnOnce(&Path)) -> PostgresServer {
        let bin = postgres_programs::directory().expect("the programs of a PostgreSQL server are installed");
        let dir = tempfile::tempdir().unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(dir.path()));
        }
        let server = PostgresServer { dir, bin, port: free_port(), options: options.to_owned() };
        let data = server.data();
        let made = ["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"];
        run(&mut server.program("initdb", &made));
        prepare(Path::new(&data));
        if is_root() {
            run(Command::new("chown").args(["-R", "postgres"]).arg(&data));
        }
        server.start_again();
        server
    }

    /// The URL of its first database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops it, and starts it again at the same address.
    pub fn restart(&self, stop: Stop) {
        run(&mut self.control("restart", stop));
    }

    /// Stops it. This closes all connections.
    pub fn stop(&self) {
        run(&mut self.control("stop", Stop::Fast));
    }

    /// Starts it again at the same address, after it was stopped.
    pub fn start_again(&self) {
        run(&mut self.control("start", Stop::Fast));
    }

    fn data(&self) -> String {
        self.dir.path().join("data").to_str().unwrap().to_owned()
    }

    fn control(&self, what: &str, stop: Stop) -> Command {
        let mode = match stop {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        let socket = self.dir.path().to_str().unwrap();
        let options = format!("-p {} -k {socket} -c listen_addresses=127.0.0.1 {}", self.port, self.options);
        let log = self.dir.path().join("log");
        let log = log.to_str().unwrap();
        let data = self.data();
        self.program("pg_ctl", &[what, "-D", &data, "-m", mode, "-w", "-t", "120", "-l", log, "-o", &options])
    }

    /// One of PostgreSQL's programs, as the user postgres: the programs refuse to run as root.
    fn program(&self, name: &str, arguments: &[&str]) -> Command {
        let program = self.bin.join(name);
        if !is_root() {
            let mut command = Command::new(program);
            command.args(arguments);
            return command;
        }
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        let line: Vec<_> =
            std::iter::once(program.to_str().unwrap()).chain(arguments.iter().copied()).map(quoted).collect();
        let mut command = Command::new("su");
        command.args(["postgres", "-s", "/bin/sh", "-c", &line.join(" ")]).current_dir("/");
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // A test may have stopped it.
        let _ = status(&mut self.control("stop", Stop::Immediate));
    }
}

fn run(command: &mut Command) {
    let (status, said) = status(command);
    assert!(status.success(), "{command:?}: {status}\n{said}");
}

/// How a command ended, and what it printed. It prints to a file, because a server keeps its
/// inherited output open.
fn status(command: &mut Command) -> (ExitStatus, String) {
    let mut file = tempfile::tempfile().unwrap();
    let (out, err) = (file.try_clone().unwrap(), file.try_clone().unwrap());
    let status = command.stdin(Stdio::null()).stdout(out).stderr(err).status().unwrap();
    let mut said = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut said).unwrap();
    (status, String::from_utf8_lossy(&said).into_owned())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
