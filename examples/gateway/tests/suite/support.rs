//! The services to test on.

use std::time::Duration;

/// The longest that anything which must happen may take.
pub const DEADLINE: Duration = crate::http::PATIENCE;

/// A broker's address, or `None` when the test is to be skipped.
pub fn kafka() -> Option<String> {
    variable("FEEDKIT_TEST_KAFKA")
}

/// The jars to start brokers from, or `None` when the test is to be skipped.
pub fn jars() -> Option<String> {
    variable("FEEDKIT_TEST_KAFKA_JARS")
}

/// A PostgreSQL server's URL, or `None` when the test is to be skipped.
pub fn server() -> Option<String> {
    variable("FEEDKIT_TEST_POSTGRES")
}

fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        skip(&format!("{name} is not set"));
    }
    value
}

/// Says why a test does not run, and fails where everything must.
pub fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    eprintln!("skipped: feedkit-gateway: {why}");
}
