//! The licences of everything that is built, against the list in deny.toml. A stand-in for
//! `cargo deny check licenses` that needs nothing installed.

use std::collections::BTreeSet;

use crate::support::{cargo, root};

#[test]
fn every_licence_is_allowed() {
    let allowed = allowed();
    let metadata = cargo(&["metadata", "--format-version", "1", "--filter-platform", &host()]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("cargo prints JSON");
    let built: BTreeSet<_> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| &node["id"])
        .map(text)
        .collect();
    let packages = metadata["packages"].as_array().expect("packages");
    let mut checked = 0;
    for package in packages.iter().filter(|package| built.contains(text(&package["id"]))) {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(
            is_allowed(licence, &allowed),
            "{} {} has the licence {licence}",
            package["name"],
            package["version"]
        );
        checked += 1;
    }
    assert!(checked > 50, "only {checked} packages were looked at");
}

#[test]
fn expressions_are_read_rightly() {
    let allowed = BTreeSet::from(["MIT".to_owned(), "Zlib".to_owned()]);
    for good in ["MIT", "MIT OR Apache-2.0", "Apache-2.0/MIT", "(GPL-3.0 OR MIT) AND Zlib", "MIT AND Zlib"] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in
        ["", "none", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Zlib) AND GPL-3.0", "Apache-2.0 OR GPL-3.0"]
    {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().expect("a string")
}

fn allowed() -> BTreeSet<String> {
    let deny = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml can be read");
    let deny: toml::Table = deny.parse().expect("deny.toml is TOML");
    let list = deny["licenses"]["allow"].as_array().expect("a list of licences");
    list.iter().map(|licence| licence.as_str().expect("a name").to_owned()).collect()
}

/// `OR` binds less than `AND`; parentheses do not nest in any licence that crates have.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ");
    if let (Some(open), Some(close)) = (expression.find('('), expression.find(')')) {
        let inner = if is_allowed(&expression[open + 1..close], allowed) { "MIT" } else { "none" };
        return is_allowed(&format!("{}{inner}{}", &expression[..open], &expression[close + 1..]), allowed);
    }
    expression.split(" OR ").any(|all| all.split(" AND ").all(|name| allowed.contains(name.trim())))
}

/// The platform that this was built for.
fn host() -> String {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = std::process::Command::new(rustc).arg("-vV").output().expect("rustc runs");
    let output = String::from_utf8(output.stdout).expect("rustc prints UTF-8");
    let host = output.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc says its host").to_owned()
}
