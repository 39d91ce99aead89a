//! A fuzzer makes requests from `/openapi.json`: every answer is documented, and no answer is a
//! server error.

use feedkit_test_programs::Served;
use feedkit_test_services::{apply, given, needs_schemathesis};
use std::process::Command;

use crate::program::Place;
use crate::server::Server;

#[apply(needs_schemathesis!)]
#[test]
fn every_answer_is_as_documented() {
    let fuzzer = given("FEEDKIT_SCHEMATHESIS");
    let seed = std::env::var("FEEDKIT_SEED").unwrap_or_else(|_| "20261127".to_owned());
    println!("seed {seed}");
    let place = Place::new();
    let server = Server::of(&place);
    let token = server.token("fuzzer", &["moderator"], &["events:write:any"]);
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
                  response_schema_conformance,response_headers_conformance";
    let output = Command::new(fuzzer)
        .args(["run", &format!("http://{}/openapi.json", server.address)])
        .args(["-H", &format!("Authorization: Bearer {token}")])
        // Those two do not end by themselves; they have tests of their own.
        .args(["--exclude-path", "/ws", "--exclude-path", "/api/notifications/stream"])
        .args(["-n", "50", "--seed", &seed, "--checks", checks, "--request-timeout", "60", "--no-color"])
        .current_dir(place.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("No issues found"), "it has not fuzzed");
}
