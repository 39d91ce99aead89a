//! `GET /openapi.json` and `GET /docs`.

use std::sync::Arc;

use bytes::Bytes;
use poem::http::HeaderValue;
use poem::http::StatusCode;
use poem::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use poem::{Endpoint, Request, Response, Route};

use super::document::document;
use crate::Problem;
use crate::state::State;

/// The page's Content-Security-Policy. Swagger UI has its icons as `data:` URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files of Swagger UI that the page needs.
const FILES: &[(&str, &str)] = &[
    ("swagger-ui.css", "text/css; charset=utf-8"),
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("favicon-32x32.png", "image/png"),
];

/// Adds the document and its page to `route`.
pub(crate) fn routes(route: Route, state: &Arc<State>) -> Route {
    let document = document(&state.options);
    let document = serde_json::to_vec(&document).expect("a document has only string keys");
    let page = Bytes::from_static(include_bytes!("page.html"));
    let start = Bytes::from_static(include_bytes!("start.js"));
    let mut route = route
        .at("/openapi.json", poem::get(Static::new("application/json", document.into())))
        .at("/docs", poem::get(Static::new("text/html; charset=utf-8", page)))
        // The addresses in the page are relative.
        .at("/docs/", poem::get(poem::endpoint::make_sync(to_page)))
        .at("/docs/start.js", poem::get(Static::new("text/javascript; charset=utf-8", start)));
    for &(name, content_type) in FILES {
        route = route.at(format!("/docs/{name}"), poem::get(Vendored { name, content_type }));
    }
    route
}

fn to_page(_: Request) -> Response {
    Response::builder().status(StatusCode::PERMANENT_REDIRECT).header(LOCATION, "../docs").finish()
}

/// A response with static bytes.
struct Static {
    content_type: &'static str,
    body: Bytes,
}

impl Static {
    fn new(content_type: &'static str, body: Bytes) -> Self {
        Static { content_type, body }
    }
}

impl Endpoint for Static {
    type Output = Response;

    async fn call(&self, _: Request) -> poem::Result<Response> {
        Ok(file(self.content_type, self.body.clone(), "no-cache"))
    }
}

/// A file of Swagger UI from the binary.
struct Vendored {
    name: &'static str,
    content_type: &'static str,
}

impl Endpoint for Vendored {
    type Output = Response;

    async fn call(&self, _: Request) -> poem::Result<Response> {
        let found =
            utoipa_swagger_ui::serve(self.name, Arc::new(utoipa_swagger_ui::Config::from("openapi.json")));
        let Ok(Some(found)) = found else {
            return Err(Problem::not_found(format!("there is no {}", self.name)).into());
        };
        let body = match found.bytes {
            std::borrow::Cow::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            std::borrow::Cow::Owned(bytes) => bytes.into(),
        };
        Ok(file(self.content_type, body, "max-age=86400"))
    }
}

fn file(content_type: &'static str, body: Bytes, cache: &'static str) -> Response {
    let mut response = Response::builder().content_type(content_type).body(body);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
