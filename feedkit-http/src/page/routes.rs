//! `/` and `/assets/NAME`.

use std::sync::Arc;

use bytes::Bytes;
use poem::endpoint::make_sync;
use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use poem::{Endpoint, Request, Response, Route, get};

use super::assets::{ASSETS, Asset, PAGE};
use crate::state::State;

/// Mounts the page and its files.
///
/// All addresses in the page are relative, so that the page works wherever the routes are nested.
pub(crate) fn routes(route: Route, _state: &Arc<State>) -> Route {
    mount(route)
}

fn mount(route: Route) -> Route {
    let page = Served::new(&PAGE);
    let mut route = route.at("/", get(make_sync(move |request| page.answer_page(&request))));
    for asset in ASSETS {
        route = route.at(format!("/assets/{}", asset.name), get(serve(asset)));
    }
    route
}

fn serve(asset: &'static Asset) -> impl Endpoint {
    let served = Served::new(asset);
    make_sync(move |request| served.answer(&request))
}

/// The page may load only the gateway's own files and answers. It may not run inline code, be
/// framed, or turn text into HTML.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-cache"),
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // The page removes a token from its address at once, but the address also names posts.
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// A file with its headers, prepared once.
struct Served {
    bytes: Bytes,
    etag: HeaderValue,
    content_type: &'static str,
}

impl Served {
    fn new(asset: &Asset) -> Self {
        Served {
            bytes: Bytes::from_static(asset.bytes),
            etag: HeaderValue::try_from(asset.etag())
                .expect("quoted hexadecimal digits are a header's value"),
            content_type: asset.content_type(),
        }
    }

    fn answer(&self, request: &Request) -> Response {
        let unchanged = matches(request.headers(), &self.etag);
        let mut answer = Response::builder().header(header::ETAG, self.etag.clone());
        for (name, value) in HEADERS {
            answer = answer.header(name, value);
        }
        match unchanged {
            true => answer.status(StatusCode::NOT_MODIFIED).finish(),
            false => answer.content_type(self.content_type).body(self.bytes.clone()),
        }
    }

    fn answer_page(&self, request: &Request) -> Response {
        let asked = request.original_uri();
        match with_slash(asked.path(), asked.query()) {
            None => self.answer(request),
            Some(location) => Response::builder()
                .status(StatusCode::PERMANENT_REDIRECT)
                .header(header::LOCATION, location)
                .finish(),
        }
    }
}

/// The address to redirect to, or `None`. The page's address has to end in a slash, because the
/// page uses relative addresses.
fn with_slash(path: &str, query: Option<&str>) -> Option<String> {
    if path.ends_with('/') {
        return None;
    }
    // The redirect is relative to the last segment, because a proxy may have removed a part of the
    // path.
    let last = path.rsplit('/').next().unwrap_or_default();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("./{last}/{query}"))
}

/// Whether the browser already has the current content.
fn matches(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let tags = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|value| value.split(',')).map(str::trim).any(|tag| {
        // A proxy that compresses turns the tag into a weak one.
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem::http::Method;

    async fn ask(path: &'static str, headers: &[(HeaderName, &str)]) -> Response {
        let mut request = Request::builder().uri_str(path).method(Method::GET);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let app = Route::new().nest("/nested", mount(Route::new())).nest("/", mount(Route::new()));
        app.get_response(request.finish()).await
    }

    fn header_of<'a>(answer: &'a Response, name: &str) -> &'a str {
        answer.headers().get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }

    #[tokio::test]
    async fn the_page_is_html_under_a_strict_policy() {
        for path in ["/", "/nested/"] {
            let answer = ask(path, &[]).await;
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(header_of(&answer, "content-type"), "text/html; charset=utf-8");
            assert_eq!(header_of(&answer, "cache-control"), "no-cache");
            let policy = header_of(&answer, "content-security-policy");
            for rule in
                ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"]
            {
                assert!(policy.split("; ").any(|part| part == rule), "{rule} is missing in {policy}");
            }
            assert!(!policy.contains("unsafe"), "{policy}");
            assert!(answer.into_body().into_bytes().await.unwrap().starts_with(b"<!doctype html>"));
        }
    }

    #[tokio::test]
    async fn every_file_is_there_with_its_type() {
        for asset in ASSETS {
            for folder in ["/assets", "/nested/assets"] {
                let path: &'static str = format!("{folder}/{}", asset.name).leak();
                let answer = ask(path, &[]).await;
                assert_eq!(answer.status(), StatusCode::OK, "{path}");
                assert_eq!(header_of(&answer, "content-type"), asset.content_type());
                assert_eq!(header_of(&answer, "x-content-type-options"), "nosniff");
                assert_eq!(answer.into_body().into_bytes().await.unwrap(), asset.bytes);
            }
        }
        assert_eq!(ask("/assets/none.js", &[]).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(ask("/assets/package.json", &[]).await.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn what_a_browser_has_is_not_sent_again() {
        let first = ask("/assets/page.css", &[]).await;
        let etag = header_of(&first, "etag").to_owned();
        for sent in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
            let again = ask("/assets/page.css", &[(header::IF_NONE_MATCH, &sent)]).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{sent}");
            assert_eq!(header_of(&again, "etag"), etag);
            assert!(again.into_body().into_bytes().await.unwrap().is_empty());
        }
        let other = ask("/assets/page.css", &[(header::IF_NONE_MATCH, "\"other\"")]).await;
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[test]
    fn a_nested_page_gets_the_slash_that_its_addresses_need() {
        assert_eq!(with_slash("/", None), None);
        assert_eq!(with_slash("/nested/", Some("a=b")), None);
        assert_eq!(with_slash("/nested", None).unwrap(), "./nested/");
        assert_eq!(with_slash("/a/nested", Some("a=b")).unwrap(), "./nested/?a=b");
        assert_eq!(with_slash("//elsewhere.example", None).unwrap(), "./elsewhere.example/");
    }

    #[test]
    fn nothing_in_the_page_needs_another_host_or_an_inline_script() {
        for asset in ASSETS.iter().chain([&PAGE]) {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            // Examples of the client's documentation, and the names of XML's vocabularies, load
            // nothing.
            let text = text.replace("https://feed.example", "").replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http://") && !text.contains("https://"), "{} names a host", asset.name);
            for way in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "style=",
                "onclick=\"",
            ] {
                assert!(!text.contains(way), "{} has {way}", asset.name);
            }
            assert!(
                !asset.name.ends_with(".html") || !text.contains("<style"),
                "{} has inline styles",
                asset.name
            );
        }
        let page = std::str::from_utf8(PAGE.bytes).unwrap();
        assert_eq!(page.matches("<script").count(), page.matches("src=\"assets/page.js\"").count());
    }
}
