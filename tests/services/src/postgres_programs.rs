//! Where the programs of a PostgreSQL server are. The build script asks too.

use std::path::PathBuf;
use std::process::Command;

/// The directory that has initdb, if it is installed.
pub(crate) fn directory() -> Option<PathBuf> {
    let configured = Command::new("pg_config").arg("--bindir").output().ok();
    let configured = configured.map(|o| PathBuf::from(String::from_utf8_lossy(&o.stdout).trim()));
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut installed: Vec<PathBuf> = versions.filter_map(|v| Some(v.ok()?.path().join("bin"))).collect();
    installed.sort();
    configured.into_iter().chain(installed.into_iter().rev()).find(|bin| bin.join("initdb").exists())
}
