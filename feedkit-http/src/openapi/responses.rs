//! Answers: what went well, and each kind of problem once.

use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Schema};

use crate::Problem;

/// The name of the bearer token among the document's security schemes.
pub(super) const BEARER: &str = "bearer";

/// A response of this JSON.
pub(super) fn json(text: &str, schema: &str) -> ResponseBuilder {
    with_content(text, "application/json", Ref::from_schema_name(schema))
}

/// A response of text of this type.
pub(super) fn text(text: &str, content_type: &str) -> ResponseBuilder {
    with_content(text, content_type, ObjectBuilder::new().schema_type(Type::String))
}

pub(super) fn with_content(
    text: &str,
    content_type: &str,
    schema: impl Into<RefOr<Schema>>,
) -> ResponseBuilder {
    let content = ContentBuilder::new().schema(Some(schema)).build();
    plain(text).content(content_type, content)
}

/// A response without a body.
pub(super) fn plain(text: &str) -> ResponseBuilder {
    let id = ObjectBuilder::new().schema_type(Type::String);
    let id = HeaderBuilder::new()
        .schema(id)
        .description(Some("The id of the request, for questions to an operator."));
    ResponseBuilder::new().description(text).header("X-Request-Id", id.build())
}

/// Adds the headers of the rate limit.
pub(super) fn limited(response: ResponseBuilder) -> ResponseBuilder {
    response
        .header("RateLimit-Limit", number("The rate limit. One event costs one."))
        .header("RateLimit-Remaining", number("How much of the limit is left."))
        .header("RateLimit-Reset", number("Seconds until the whole limit is available again."))
}

/// A problem's response, among the document's components.
pub(super) fn problem(status: u16) -> Ref {
    Ref::from_response_name(name(status))
}

/// All problems' responses, by name.
pub(super) fn problems() -> impl Iterator<Item = (String, Response)> {
    Problem::KINDS.iter().map(|(kind, status, title)| {
        let text = format!("{title} (`urn:feedkit:problem:{kind}`).");
        let content = Ref::from_schema_name("Problem");
        let mut response = with_content(&text, "application/problem+json", content);
        match status.as_u16() {
            401 => {
                let scheme = ObjectBuilder::new().schema_type(Type::String);
                let scheme = HeaderBuilder::new().schema(scheme).description(Some("`Bearer`")).build();
                response = response.header("WWW-Authenticate", scheme);
            }
            429 => response = limited(response.header("Retry-After", retry_after())),
            503 | 504 => response = response.header("Retry-After", retry_after()),
            _ => {}
        }
        (name(status.as_u16()), response.build())
    })
}

fn name(status: u16) -> String {
    format!("Problem{status}")
}

fn retry_after() -> Header {
    number("How many seconds to wait. It is absent when waiting does not help.")
}

fn number(text: &str) -> Header {
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    HeaderBuilder::new().schema(number).description(Some(text)).build()
}
