//! Every setting can be given by a flag, a variable and the file, and faults name where they are.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use clap::Parser;
use feedkit_server::settings::{File, Key};

use super::*;
use crate::cli::Cli;

/// Layers of a command line, variables and a file.
fn layers(flags: &[String], variables: &BTreeMap<String, String>, file: &str) -> Result<Layers, Failure> {
    let program = ["feedkit".to_owned(), "serve".to_owned()];
    let cli = Cli::try_parse_from(program.iter().chain(flags)).unwrap();
    let variables = variables.clone();
    let variable = move |name: &str| variables.get(name).map(OsString::from);
    let file = File::parse(Path::new("feedkit.toml"), file)?;
    Layers::new::<AllSections>(&[], cli.given(), variable, Some(file))
}

fn load(file: &str) -> Result<Config, Failure> {
    Config::load(&layers(&[], &BTreeMap::new(), file)?)
}

/// Values that a key can have. All are different, and none of them is the default.
fn values(key: &Key, folder: &Path) -> [String; 3] {
    let texts = match (key.kind, key.name) {
        _ if key.secret => {
            return ["a", "b", "c"].map(|name| {
                let path = folder.join(name);
                std::fs::write(&path, format!("{name}\n")).unwrap();
                path.to_str().unwrap().to_owned()
            });
        }
        ("number", _) => ["17", "18", "19"],
        ("decimal", _) => ["2.5", "3.5", "4.5"],
        ("size", _) => ["7KiB", "8KiB", "9KiB"],
        ("duration", _) => ["7m", "8m", "9m"],
        ("switch", _) => match key.default.as_deref() {
            Some("true") => ["false", "true", "false"],
            _ => ["true", "false", "true"],
        },
        ("address", _) => ["127.0.0.1:7", "[::1]:8", "127.0.0.1:9"],
        ("word", "algorithm") => ["RS256", "ES256", "EdDSA"],
        ("word", "log_format") => ["json", "text", "json"],
        ("list", "thresholds") => ["7,8", "8,9", "9,10"],
        ("list", "trusted_proxies") => ["10.0.0.0/8", "::1/128", "10.0.0.0/8,::1/128"],
        _ => ["x7", "x8", "x9"],
    };
    texts.map(str::to_owned)
}

fn in_file(key: &Key, text: &str) -> String {
    let quoted = match (key.kind, key.name) {
        ("number" | "decimal" | "switch", _) => text.to_owned(),
        ("list", "thresholds") => format!("[{text}]"),
        ("list", _) => {
            format!("[{}]", text.split(',').map(|t| format!("{t:?}")).collect::<Vec<_>>().join(", "))
        }
        _ => format!("{text:?}"),
    };
    let (table, name) = key
        .path()
        .rsplit_once('.')
        .map_or((String::new(), key.path()), |(table, name)| (format!("[{table}]\n"), name.to_owned()));
    format!("{table}{name} = {quoted}\n")
}

/// The section that `key` is in, as it was loaded.
fn shown(layers: &Layers) -> String {
    let sections = AllSections::load(layers).unwrap();
    let secret = sections.4.secret.as_ref().map(|secret| secret.bytes().to_vec());
    format!("{sections:?}, {secret:?}")
}

#[test]
fn a_flag_goes_before_a_variable_before_the_file_for_every_key() {
    let folder = tempfile::tempdir().unwrap();
    let keys = AllSections::keys();
    assert!(keys.len() > 50);
    for key in &keys {
        let [a, b, c] = values(key, folder.path());
        let flags = |value: &String| [format!("{}={value}", key.flag())];
        let variables = |value: &String| BTreeMap::from([(key.variable(), value.clone())]);
        let (none, by_default) = (BTreeMap::new(), shown(&layers(&[], &BTreeMap::new(), "").unwrap()));

        // Each way by itself comes to the same, and not to the default.
        let by_file = shown(&layers(&[], &none, &in_file(key, &a)).unwrap());
        assert_ne!(by_file, by_default, "{} in the file", key.path());
        assert_eq!(shown(&layers(&[], &variables(&a), "").unwrap()), by_file, "{}", key.variable());
        assert_eq!(shown(&layers(&flags(&a), &none, "").unwrap()), by_file, "{}", key.flag());

        let by_variable = shown(&layers(&[], &variables(&b), "").unwrap());
        assert_eq!(
            shown(&layers(&[], &variables(&b), &in_file(key, &a)).unwrap()),
            by_variable,
            "{}",
            key.path()
        );
        let by_flag = shown(&layers(&flags(&c), &none, "").unwrap());
        let all = layers(&flags(&c), &variables(&b), &in_file(key, &a)).unwrap();
        assert_eq!(shown(&all), by_flag, "{}", key.path());
    }
}

#[test]
fn flags_and_variables_are_unique() {
    let mut flags: Vec<_> = AllSections::keys().iter().map(Key::flag).collect();
    flags.sort();
    let all = flags.len();
    flags.dedup();
    assert_eq!(flags.len(), all);
}

#[test]
fn a_value_that_cannot_be_names_its_key_and_where_it_comes_from() {
    let variables = BTreeMap::from([("FEEDKIT_MAX_BODY_BYTES".to_owned(), "big".to_owned())]);
    let fault = |layers: Result<Layers, Failure>| Config::load(&layers.unwrap()).unwrap_err().to_string();
    let by_variable = fault(layers(&[], &variables, ""));
    assert!(
        by_variable.starts_with("--max-body-bytes (from FEEDKIT_MAX_BODY_BYTES): \"big\""),
        "{by_variable}"
    );
    let by_flag = fault(layers(&["--max-body-bytes=big".to_owned()], &variables, ""));
    assert!(by_flag.starts_with("--max-body-bytes: \"big\" is not"), "{by_flag}");
    let by_file = fault(layers(&[], &BTreeMap::new(), "[gateway]\n\nmax_body_bytes = true\n"));
    assert!(by_file.starts_with("feedkit.toml:3: gateway.max_body_bytes: true is not"), "{by_file}");
    for (text, named) in [
        ("[retention]\nevents_days = 1\n", "feedkit.toml:2: retention.events_days: is 1"),
        ("[events]\nextra_kinds = [\"Share\"]\n", "feedkit.toml:2: events.extra_kinds: \"Share\""),
        ("[rules.spike]\nmin_factor = 1.0\n", "feedkit.toml:2: rules.spike.min_factor: is 1"),
        ("[rules.milestone]\nthresholds = [5, 3]\n", "feedkit.toml:2: rules.milestone.thresholds: must be"),
        ("listen = \"localhost\"\n", "feedkit.toml:1: listen: \"localhost\" is not an IP address"),
    ] {
        let told = load(text).unwrap_err().to_string();
        assert!(told.starts_with(named), "{text}: {told}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
    for (text, line, meant) in [
        ("[gateway]\nmax_body_byte = 1\n", 2, "gateway.max_body_bytes"),
        ("max_body_bytes = 1\n", 1, "gateway.max_body_bytes"),
        ("[jwt]\nsecret = \"x\"\n", 2, "jwt.secret_file"),
        ("[gatewya]\n", 1, ""),
        ("[rules.spike]\nno_such = 1\n", 2, ""),
    ] {
        let told = load(text).unwrap_err().to_string();
        assert!(told.starts_with(&format!("feedkit.toml:{line}: there is no setting ")), "{told}");
        assert_eq!(
            told.split_once("did you mean ").map_or("", |(_, m)| m.trim_end_matches('?')),
            meant,
            "{told}"
        );
    }
}

#[test]
fn a_secret_comes_from_a_file_or_a_variable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "two lines\n\n").unwrap();
    let secret = |variables: &[(&str, &str)], file: &str| {
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::load(&layers(&[], &variables, file)?)
            .map(|config| config.jwt.secret.unwrap().bytes().to_vec())
    };
    let named = format!("[jwt]\nsecret_file = {path:?}\n");
    assert_eq!(secret(&[], &named).unwrap(), b"two lines\n");
    assert_eq!(secret(&[("FEEDKIT_JWT_SECRET", "by itself")], &named).unwrap(), b"by itself");
    let path = path.to_str().unwrap();
    let both = secret(&[("FEEDKIT_JWT_SECRET", "x"), ("FEEDKIT_JWT_SECRET_FILE", path)], "").unwrap_err();
    assert!(both.to_string().contains("both"), "{both}");
    let missing = secret(&[("FEEDKIT_JWT_SECRET_FILE", "/no/such")], "").unwrap_err().to_string();
    assert!(missing.starts_with("--jwt-secret-file (from FEEDKIT_JWT_SECRET_FILE): /no/such"), "{missing}");
    assert!(Cli::try_parse_from(["feedkit", "serve", "--jwt-secret", "x"]).is_err());
}
