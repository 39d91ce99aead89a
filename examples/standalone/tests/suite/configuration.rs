//! Settings as the program takes them. That every key is a flag, a variable and a place in the file
//! is tested where they are described.

use crate::program::{Place, arg, said};

#[test]
fn the_reference_is_in_step() {
    let made = Place::new().run(&["reference"]);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let kept = std::fs::read_to_string(path).unwrap();
    let differs = made.lines().zip(kept.lines()).find(|(made, kept)| made != kept);
    let anew = "make it anew: feedkit reference > docs/configuration.md";
    assert!(made == kept, "{anew}\nthe first line that differs: {differs:#?}");
}

#[test]
fn flags_go_before_variables_before_the_file() {
    let place = Place::new();
    let config = place.path("feedkit.toml");
    std::fs::write(&config, "[jwt]\nalgorithm = \"X1\"\n").unwrap();
    // The error names the effective value.
    let complaint = |flag: bool, variable: bool| {
        let mut command = place.feedkit(&["serve", "--check", "--config", arg(&config)]);
        if flag {
            command.args(["--jwt-algorithm", "X3"]);
        }
        if variable {
            command.env("FEEDKIT_JWT_ALGORITHM", "X2");
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        String::from_utf8(output.stderr).unwrap()
    };
    let by_file = complaint(false, false);
    assert!(by_file.contains("feedkit.toml:2: jwt.algorithm: \"X1\""), "{by_file}");
    let by_variable = complaint(false, true);
    assert!(by_variable.contains("--jwt-algorithm (from FEEDKIT_JWT_ALGORITHM): \"X2\""), "{by_variable}");
    let by_flag = complaint(true, true);
    assert!(by_flag.contains("--jwt-algorithm: \"X3\""), "{by_flag}");
    assert!(by_flag.contains("HS256"), "{by_flag}");
}

#[test]
fn the_file_may_be_named_by_a_variable_and_an_empty_variable_is_none() {
    let place = Place::new();
    let config = place.path("feedkit.toml");
    std::fs::write(&config, "[gateway]\nmax_conections = 5\n").unwrap();
    let mut command = place.feedkit(&["serve", "--check"]);
    let output = command.env("FEEDKIT_CONFIG", &config).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = said(&output);
    assert!(told.contains(":2: there is no setting gateway.max_conections"), "{told}");
    assert!(told.contains("did you mean gateway.max_connections?"), "{told}");

    let mut command = place.feedkit(&["serve", "--check"]);
    let output = command.env("FEEDKIT_MAX_CONNECTIONS", "").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_missing_file_and_a_secret_on_the_command_line_are_refused() {
    let place = Place::new();
    assert!(place.fails(2, &["--config", "no-such.toml", "serve", "--check"]).contains("no-such.toml"));
    place.fails(2, &["serve", "--check", "--jwt-secret", "x"]);
    let told = place.fails(2, &["serve", "--check", "--max-conections", "5"]);
    assert!(told.contains("--max-connections"), "{told}");
}
