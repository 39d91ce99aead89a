//! A PostgreSQL server of a test's own, for what others must not suffer.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs until it is dropped.
pub(super) struct Instance {
    dir: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
    options: String,
}

impl Instance {
    /// Starts one; the test is skipped where PostgreSQL's programs are not installed, and fails there where the
    /// environment says `CI=true`. Destructive tests run when the others do, so that a machine without a server
    /// skips them all alike.
    pub(super) fn start(options: &str) -> Option<Instance> {
        super::support::server()?;
        Self::start_with(options, |_| ())
    }

    /// The same, with a look at the data directory before the start.
    pub(super) fn start_with(options: &str, prepare: impl FnOnce(&Path)) -> Option<Instance> {
        let Some(bin) = programs() else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "initdb is not installed");
            eprintln!("skipped: feedkit-store: PostgreSQL's server programs are not installed");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(dir.path()));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let instance = Instance { dir, bin, port, options: options.to_owned() };
        let data = instance.data();
        instance
            .program("initdb", &["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"]);
        prepare(Path::new(&data));
        if is_root() {
            run(Command::new("chown").args(["-R", "postgres"]).arg(&data));
        }
        instance.control("start");
        Some(instance)
    }

    pub(super) fn url(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port)
    }

    /// As if the machine had lost its power and came back.
    pub(super) fn restart_immediately(&self) {
        self.control("restart");
    }

    fn data(&self) -> String {
        self.dir.path().join("data").to_str().unwrap().to_owned()
    }

    fn control(&self, what: &str) {
        let socket = self.dir.path().to_str().unwrap();
        let options = format!(
            "-p {} -k {socket} -c listen_addresses=127.0.0.1 -c max_connections=50 {}",
            self.port, self.options
        );
        let log = self.dir.path().join("log");
        let log = log.to_str().unwrap();
        self.program(
            "pg_ctl",
            &[what, "-D", &self.data(), "-m", "immediate", "-w", "-t", "120", "-l", log, "-o", &options],
        );
    }

    /// Runs one of PostgreSQL's programs, which refuse to work for root.
    fn program(&self, name: &str, arguments: &[&str]) {
        let program = self.bin.join(name);
        if !is_root() {
            return run(Command::new(program).args(arguments));
        }
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        let line: Vec<_> =
            std::iter::once(program.to_str().unwrap()).chain(arguments.iter().copied()).map(quoted).collect();
        run(Command::new("su").args(["postgres", "-s", "/bin/sh", "-c", &line.join(" ")]).current_dir("/"));
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.control("stop");
    }
}

fn run(command: &mut Command) {
    // What a server inherits it keeps open.
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where initdb is, if it is installed.
fn programs() -> Option<PathBuf> {
    let configured = Command::new("pg_config").arg("--bindir").output().ok();
    let configured = configured.map(|o| PathBuf::from(String::from_utf8_lossy(&o.stdout).trim()));
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut installed: Vec<PathBuf> = versions.filter_map(|v| Some(v.ok()?.path().join("bin"))).collect();
    installed.sort();
    configured.into_iter().chain(installed.into_iter().rev()).find(|bin| bin.join("initdb").exists())
}
