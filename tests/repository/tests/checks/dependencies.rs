//! Which crates may depend on which; docs/architecture.md says why.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::support::{cargo, root};

const CORE: &str = "feedkit-core";

/// Features that exist for tests.
const FOR_TESTS: [&str; 2] = ["testkit", "failpoints"];

/// Crates of HTTP, tokens, databases and Kafka, which a user of the bare pipeline must not have to
/// build.
const HEAVY: [&str; 22] = [
    "axum",
    "deadpool-postgres",
    "http",
    "hyper",
    "hyper-util",
    "jsonwebtoken",
    "libsqlite3-sys",
    "native-tls",
    "openssl",
    "openssl-sys",
    "poem",
    "postgres-types",
    "prometheus",
    "rdkafka",
    "rdkafka-sys",
    "redis",
    "reqwest",
    "rusqlite",
    "rustls",
    "tokio-postgres",
    "tokio-tungstenite",
    "tungstenite",
];

/// A package of the workspace, as its Cargo.toml describes it.
struct Package {
    name: String,
    is_published: bool,
    /// Whether it exists for tests only.
    is_for_tests: bool,
    features: BTreeMap<String, Vec<String>>,
    /// What its users build too, with the features that it enables. Optional dependencies are among
    /// them.
    dependencies: Vec<(String, Vec<String>)>,
}

fn packages() -> Vec<Package> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo prints JSON");
    metadata["packages"].as_array().expect("packages").iter().map(package).collect()
}

fn package(described: &Value) -> Package {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let texts = |value: &Value| value.as_array().expect("an array").iter().map(text).collect::<Vec<_>>();
    let dependencies = described["dependencies"].as_array().expect("dependencies");
    let features = described["features"].as_object().expect("features");
    Package {
        name: text(&described["name"]),
        is_published: described["publish"].is_null(),
        is_for_tests: Path::new(&text(&described["manifest_path"])).starts_with(root().join("tests")),
        features: features.iter().map(|(name, enabled)| (name.clone(), texts(enabled))).collect(),
        dependencies: dependencies
            .iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .map(|dependency| (text(&dependency["name"]), texts(&dependency["features"])))
            .collect(),
    }
}

/// The names of all crates that a package builds with, besides itself.
fn tree(package: &str, features: &[&str]) -> BTreeSet<String> {
    let arguments = ["tree", "-p", package, "-e", "normal", "--prefix", "none", "--no-default-features"];
    let tree = cargo(&[&arguments[..], features].concat());
    let names = tree.lines().skip(1).filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

#[test]
fn the_core_builds_nothing_heavy() {
    let found = tree(CORE, &["--all-features"]);
    assert!(found.contains("tokio"), "cargo tree lists nothing that is known: {found:?}");
    let heavy: Vec<_> = HEAVY.iter().filter(|heavy| found.contains(**heavy)).collect();
    assert!(heavy.is_empty(), "{CORE} depends on {heavy:?}");
}

#[test]
fn only_the_feature_schema_brings_utoipa_into_the_core() {
    let packages = packages();
    let core = packages.iter().find(|package| package.name == CORE).expect("the core is in the workspace");
    assert!(tree(CORE, &["--features", "schema"]).contains("utoipa"), "the feature `schema` has no effect");
    let others: Vec<_> = core.features.keys().map(String::as_str).filter(|name| *name != "schema").collect();
    assert!(!tree(CORE, &["--features", &others.join(",")]).contains("utoipa"), "{others:?} enable utoipa");
}

#[test]
fn libraries_depend_on_the_core_alone() {
    let packages = packages();
    let own: BTreeSet<_> = packages.iter().map(|package| &package.name).collect();
    let libraries: Vec<_> = packages.iter().filter(|package| package.is_published).collect();
    assert!(libraries.len() >= 5, "only {} libraries were found", libraries.len());
    for library in libraries {
        let found: BTreeSet<_> =
            library.dependencies.iter().map(|(name, _)| name).filter(|name| own.contains(name)).collect();
        let allowed = if library.name == CORE { vec![] } else { vec![CORE] };
        assert_eq!(found.into_iter().collect::<Vec<_>>(), allowed, "dependencies of {}", library.name);
    }
}

#[test]
fn nothing_that_is_released_enables_a_feature_for_tests() {
    for package in packages().iter().filter(|package| !package.is_for_tests) {
        for (dependency, features) in &package.dependencies {
            let enabled: Vec<_> = features.iter().filter(|feature| is_for_tests(feature)).collect();
            assert!(enabled.is_empty(), "{} enables {enabled:?} of {dependency}", package.name);
        }
        for (feature, enables) in package.features.iter().filter(|(name, _)| !is_for_tests(name)) {
            let enabled: Vec<_> = enables.iter().filter(|enabled| is_for_tests(enabled)).collect();
            assert!(enabled.is_empty(), "the feature {feature} of {} enables {enabled:?}", package.name);
        }
    }
}

/// Whether a feature is for tests, by its name or as `CRATE/NAME` or `CRATE?/NAME`.
fn is_for_tests(feature: &str) -> bool {
    feature.rsplit('/').next().is_some_and(|name| FOR_TESTS.contains(&name))
}
