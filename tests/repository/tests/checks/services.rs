//! scripts/services: programs accept the random values that it passes to them.

use std::process::Command;

use crate::support::root;

/// Draws the random bytes for a cluster's identifier from `bytes`, repeated, instead of from the
/// system.
fn cluster_id(bytes: &str) -> String {
    let script = std::fs::read_to_string(root().join("scripts/services")).expect("the script can be read");
    let function = script.lines().find(|line| line.starts_with("kafka_cluster_id()")).expect("the function");
    let random = format!("head() {{ printf '{bytes}%.0s' {{1..16}} | command head -c \"$2\"; }}");
    let program = format!("{random}\n{function}\nkafka_cluster_id");
    let output = Command::new("bash").args(["-euc", &program]).output().expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("base64").trim().to_owned()
}

#[test]
fn a_cluster_identifier_never_begins_with_a_dash() {
    // In base64 these bytes are dashes only, underscores only, and letters only.
    for bytes in [r"\373\357\276", r"\377\377\377", r"\0\0\0"] {
        let id = cluster_id(bytes);
        assert!(!id.starts_with('-'), "Kafka's tool would read {id} as an option");
        assert_eq!(id.len(), 22, "{id} is not 16 bytes");
    }
    assert_ne!(cluster_id(r"\1\2\3"), cluster_id(r"\1\2\4"), "the rest is random");
}
