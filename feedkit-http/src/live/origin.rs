//! The check of `Origin`: which pages may open a socket. Browsers let every page open a socket to
//! every host, and only `Origin` identifies the page.

use std::collections::BTreeSet;

use poem::Request;
use poem::http::header;

use crate::Problem;

/// Allows requests without an origin (they do not come from a browser), the gateway's own host, and
/// the configured origins.
pub(super) fn check(request: &Request, origins: &BTreeSet<String>) -> Result<(), Problem> {
    let mut values = request.headers().get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (values.next(), values.next()) else {
        return match request.headers().contains_key(header::ORIGIN) {
            true => Err(Problem::malformed("there is more than one Origin")),
            false => Ok(()),
        };
    };
    let host = request.header(header::HOST).or_else(|| request.uri().authority().map(|a| a.as_str()));
    let own = |origin: &str| {
        origin.split_once("://").is_some_and(|(_, at)| host.is_some_and(|h| h.eq_ignore_ascii_case(at)))
    };
    match origin.to_str() {
        Ok(origin) if own(origin) || origins.contains(origin) => Ok(()),
        _ => Err(Problem::forbidden(format!("pages of the origin {origin:?} may not open sockets here"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_and_configured_origins_pass() {
        let origins = BTreeSet::from(["https://app.example".to_owned()]);
        let passes = |origin: &str| {
            let request = Request::builder().header("host", "feed.example:8080").header("origin", origin);
            check(&request.finish(), &origins).is_ok()
        };
        for origin in ["http://feed.example:8080", "https://FEED.example:8080", "https://app.example"] {
            assert!(passes(origin), "{origin}");
        }
        for origin in ["null", "", "https://feed.example", "https://app.example.evil", "http://app.example"] {
            assert!(!passes(origin), "{origin}");
        }
        assert!(check(&Request::builder().finish(), &origins).is_ok());
        let two = Request::builder().header("origin", "a").header("origin", "https://app.example").finish();
        assert!(check(&two, &origins).is_err());
    }
}
