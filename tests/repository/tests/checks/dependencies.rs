//! Who may depend on whom; docs/architecture.md says why.

use crate::support::cargo;

/// Crates that an embedder of the bare pipeline must not have to build.
const HEAVY: [&str; 14] = [
    "poem",
    "hyper",
    "axum",
    "prometheus",
    "tokio-tungstenite",
    "jsonwebtoken",
    "reqwest",
    "rustls",
    "openssl",
    "native-tls",
    "rusqlite",
    "tokio-postgres",
    "redis",
    "rdkafka",
];

/// The names of all crates that a package builds with, besides itself.
fn dependencies(package: &str, features: &[&str]) -> Vec<String> {
    let arguments = ["tree", "-p", package, "-e", "normal", "--prefix", "none", "--no-default-features"];
    let tree = cargo(&[&arguments[..], features].concat());
    let names = tree.lines().skip(1).filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

#[test]
fn the_core_pulls_in_no_service() {
    let found = dependencies("feedkit-core", &["--all-features"]);
    assert!(found.iter().any(|name| name == "tokio"), "cargo tree lists nothing that is known: {found:?}");
    for heavy in HEAVY {
        assert!(!found.iter().any(|name| name == heavy), "feedkit-core depends on {heavy}");
    }
    assert!(
        !found.iter().any(|name| name.starts_with("feedkit")),
        "feedkit-core depends on a crate of its own"
    );
}

#[test]
fn backends_and_rules_depend_on_the_core_alone() {
    for package in ["feedkit-http", "feedkit-kafka", "feedkit-store", "feedkit-alerts"] {
        let mut found = dependencies(package, &["--all-features"]);
        found.retain(|name| name.starts_with("feedkit"));
        found.dedup();
        assert_eq!(found, ["feedkit-core"], "dependencies of {package}");
    }
}
