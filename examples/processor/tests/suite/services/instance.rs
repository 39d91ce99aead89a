//! A PostgreSQL server of a test's own, for what others must not suffer.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{free_port, given, skip};

/// Runs until it is dropped.
pub(crate) struct Instance {
    dir: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
}

impl Instance {
    /// Starts one; `None` where PostgreSQL's programs are not installed, or no test runs against PostgreSQL.
    pub(crate) fn start() -> Option<Instance> {
        given("FEEDKIT_TEST_POSTGRES")?;
        let Some(bin) = programs() else {
            skip("PostgreSQL's server programs are not installed");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(dir.path()));
        }
        let instance = Instance { dir, bin, port: free_port() };
        let data = instance.data();
        instance
            .program("initdb", &["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"]);
        instance.control("start", "fast");
        Some(instance)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// `fast`: its clients are cut off. `immediate`: as if the machine had lost its power.
    pub(crate) fn restart(&self, mode: &str) {
        self.control("restart", mode);
    }

    pub(crate) fn stop(&self) {
        self.control("stop", "fast");
    }

    pub(crate) fn start_again(&self) {
        self.control("start", "fast");
    }

    fn data(&self) -> String {
        self.dir.path().join("data").to_str().unwrap().to_owned()
    }

    fn control(&self, what: &str, mode: &str) {
        let socket = self.dir.path().to_str().unwrap();
        let options = format!("-p {} -k {socket} -c listen_addresses=127.0.0.1", self.port);
        let log = self.dir.path().join("log");
        let log = log.to_str().unwrap();
        let arguments = [what, "-D", &self.data(), "-m", mode, "-w", "-t", "120", "-l", log, "-o", &options];
        // `stop` and `start` take only some of them.
        let arguments: &[&str] = match what {
            "stop" => &arguments[..8],
            _ => &arguments,
        };
        self.program("pg_ctl", arguments);
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
        self.control("stop", "immediate");
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
