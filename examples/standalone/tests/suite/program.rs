//! Runs the program and reads what it says.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use feedkit_core::traffic::TrafficOptions;
pub(crate) use feedkit_test_programs::said;
use serde_json::Value;
use tempfile::TempDir;

/// A directory of its own for one test.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Place { dir: TempDir::new().unwrap() }
    }

    /// One on the disk that holds `directory`.
    #[cfg(feature = "failpoints")]
    pub(crate) fn within(directory: &Path) -> Self {
        Place { dir: TempDir::new_in(directory).unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes a file of made-up events.
    pub(crate) fn traffic(&self, name: &str, config: &TrafficOptions) -> PathBuf {
        let path = self.path(name);
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        for item in config.traffic() {
            file.write_all(&item.value).unwrap();
            file.write_all(b"\n").unwrap();
        }
        file.flush().unwrap();
        path
    }

    /// `feedkit` on this place's data.
    pub(crate) fn feedkit(&self, args: &[&str]) -> Command {
        feedkit(&self.data(), args)
    }

    /// Runs it; it must succeed.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = self.feedkit(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it; it must succeed, and print JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let text = self.run(&[args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?} printed {text}: {e}"))
    }

    /// Runs it; it must fail with this code. What it says.
    pub(crate) fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.feedkit(args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
        String::from_utf8(output.stderr).unwrap()
    }
}

/// `feedkit` on some data, in an environment without settings.
pub(crate) fn feedkit(data: &Path, args: &[&str]) -> Command {
    let mut command = feedkit_test_programs::bare(env!("CARGO_BIN_EXE_feedkit"));
    command.arg("--data").arg(data).args(args);
    command
}

/// A path as an argument.
pub(crate) fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}
