//! Finds out what this machine lacks, and writes the macros `needs_*`, which ignore the tests that
//! need it.

#[path = "src/postgres_programs.rs"]
mod postgres_programs;

use std::path::Path;
use std::process::{Command, Stdio};

/// A macro, and what a test under it needs. The first that is missing is the reason why the test is
/// ignored.
const MACROS: &[(&str, &[Need])] = &[
    ("needs_kafka", &[KAFKA]),
    ("needs_broker", &[BROKER]),
    ("needs_postgres", &[POSTGRES]),
    ("needs_postgres_server", &[Need::PostgresServer]),
    ("needs_redis_server", &[REDIS_SERVER]),
    ("needs_redis_cluster", &[Need::RedisCluster]),
    // Gateway and processor on the services that all tests share, and a Redis of the test's own.
    ("needs_services", &[KAFKA, POSTGRES, REDIS_SERVER]),
    ("needs_openssl", &[Need::Program("openssl", &["openssl"])]),
    ("needs_strace", &[Need::Program("strace", &["strace"])]),
    (
        "needs_chromium",
        &[
            Need::Program("Chromium", &["chromium", "chromium-browser", "google-chrome"]),
            Need::Program("chromedriver", &["chromedriver"]),
        ],
    ),
    ("needs_schemathesis", &[Need::Variable("FEEDKIT_SCHEMATHESIS")]),
    ("needs_tmpfs", &[Need::Mounts]),
];

const KAFKA: Need = Need::Variable("FEEDKIT_TEST_KAFKA");
const BROKER: Need = Need::Variable("FEEDKIT_TEST_KAFKA_JARS");
const POSTGRES: Need = Need::Variable("FEEDKIT_TEST_POSTGRES");
const REDIS_SERVER: Need = Need::Program("redis-server", &["redis-server"]);
const REDIS_CLUSTER: &str = "FEEDKIT_TEST_REDIS_CLUSTER";

/// Something that a test needs.
enum Need {
    /// A variable of the environment, not empty.
    Variable(&'static str),
    /// A program, under any of these names.
    Program(&'static str, &'static [&'static str]),
    /// The programs that make and run a PostgreSQL server.
    PostgresServer,
    /// A cluster that is given, or the server to make one of.
    RedisCluster,
    /// The right to mount a file system.
    Mounts,
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CI");
    // With CI=true every test runs, and fails where something is missing.
    let runs_all = variable("CI").is_some_and(|value| value == "true");
    let mut code = String::new();
    let mut lacks_program = false;
    for (name, needs) in MACROS {
        let missing = needs.iter().find_map(Need::missing);
        lacks_program |= missing.as_ref().is_some_and(|reason| reason.ends_with("installed"));
        code += &definition(name, missing.filter(|_| !runs_all).as_deref());
    }
    if lacks_program {
        // Where packages install programs.
        println!("cargo::rerun-if-changed=/usr/bin");
    }
    let directory = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&directory).join("needs.rs"), code).expect("OUT_DIR can be written");
}

/// The code of one macro. Under several macros the first reason stays.
fn definition(name: &str, missing: Option<&str>) -> String {
    let arms = match missing {
        None => "($($test:tt)*) => { $($test)* };".to_owned(),
        Some(reason) => format!(
            "(#[ignore = $reason:literal] $($test:tt)*) => {{ #[ignore = $reason] $($test)* }};
             ($($test:tt)*) => {{ #[ignore = \"cannot run here: {reason}\"] $($test)* }};"
        ),
    };
    format!("#[doc(hidden)] #[macro_export] macro_rules! {name} {{ {arms} }}\n")
}

impl Need {
    /// Why it cannot be had, or `None` if it is there.
    fn missing(&self) -> Option<String> {
        match self {
            Need::Variable(name) => variable(name).is_none().then(|| format!("{name} is not set")),
            Need::Program(name, names) => {
                (!names.iter().any(|name| is_on_path(name))).then(|| format!("{name} is not installed"))
            }
            Need::PostgresServer => postgres_programs::directory()
                .is_none()
                .then(|| "the programs of a PostgreSQL server are not installed".to_owned()),
            Need::RedisCluster => match variable(REDIS_CLUSTER) {
                Some(_) => None,
                None => {
                    REDIS_SERVER.missing().map(|missing| format!("{REDIS_CLUSTER} is not set and {missing}"))
                }
            },
            Need::Mounts => (!may_mount()).then(|| "this user may not mount a file system".to_owned()),
        }
    }
}

fn variable(name: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={name}");
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

/// In a mount namespace of its own, which needs the same right as a mount and leaves nothing
/// behind.
fn may_mount() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--mount", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
