//! Parameters of paths, queries and headers.

use utoipa::PartialSchema;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Required, Schema};

use crate::reads::{DEFAULT_LIMIT, MAX_LIMIT, MAX_POSTS};
use feedkit_core::{EventId, Position, PostId, Timestamp};

pub(super) fn post() -> Parameter {
    let text = "The post. An unknown post has no counts, which is not an error. `/api/posts/top` is the list; a post \
                with the id `top` is at `/api/posts/%74op`.";
    ParameterBuilder::new()
        .name("id")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(text))
        .schema(Some(PostId::schema()))
        .build()
}

pub(super) fn after() -> Parameter {
    let text = "Waits until the write at this position is visible, and answers 504 when that takes too long. It \
                bypasses cached answers.";
    query("after", text, Position::schema())
}

pub(super) fn limit() -> Parameter {
    let limit = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(MAX_LIMIT as i32))
        .default(Some(DEFAULT_LIMIT.into()));
    query("limit", "The maximum number of items.", limit)
}

/// The cursor of alerts; see `reads::cursor`: base64url of eight bytes, the first bit being zero.
pub(super) fn alert_cursor() -> Parameter {
    cursor("^[A-Za-f][A-Za-z0-9_-]{9}[AEIMQUYcgkosw048]$")
}

/// The cursor of comments: base64url of 25 to 152 bytes.
pub(super) fn comment_cursor() -> Parameter {
    cursor("^[A-Za-z0-9_-]{34,203}$")
}

fn cursor(pattern: &str) -> Parameter {
    let cursor = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    query("cursor", "The `next` of the page before. Opaque.", cursor)
}

pub(super) fn time(name: &str, text: &str) -> Parameter {
    query(name, text, Timestamp::schema())
}

/// One of `values`; the first is the default.
pub(super) fn choice(name: &str, text: &str, values: &[&str], default: &str) -> Parameter {
    let choice = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(values.iter().copied()))
        .default(Some(default.into()));
    query(name, text, choice)
}

pub(super) fn posts() -> Parameter {
    let ids = ArrayBuilder::new()
        .items(Ref::from_schema_name("PostId"))
        .min_items(Some(1))
        .max_items(Some(MAX_POSTS));
    let mut posts = query("posts", "A comma-separated list of posts.", ids);
    posts.required = Required::True;
    posts.style = Some(ParameterStyle::Form);
    posts.explode = Some(false);
    posts
}

pub(super) fn channels(max: usize) -> Parameter {
    let channel = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^(me|top|post:[A-Za-z0-9._~:@-]{1,128}|role:[A-Za-z0-9._~:@-]{1,128})$"));
    let channels = ArrayBuilder::new().items(channel).min_items(Some(1)).max_items(Some(max));
    let text = "A comma-separated list of channels: `me`, `post:ID`, `role:NAME`, `top`.";
    let mut channels = query("channels", text, channels);
    channels.required = Required::True;
    channels.style = Some(ParameterStyle::Form);
    channels.explode = Some(false);
    channels
}

pub(super) fn idempotency_key() -> Parameter {
    let text = "The event's id, for clients that cannot set it in the body.";
    header("Idempotency-Key", text, EventId::schema())
}

pub(super) fn last_event_id() -> Parameter {
    let text =
        "The cursor of the last event that the client received. The stream first sends what came after it.";
    header("Last-Event-ID", text, ObjectBuilder::new().schema_type(Type::String))
}

fn query(name: &str, text: &str, schema: impl Into<RefOr<Schema>>) -> Parameter {
    parameter(name, ParameterIn::Query, text, schema)
}

fn header(name: &str, text: &str, schema: impl Into<RefOr<Schema>>) -> Parameter {
    parameter(name, ParameterIn::Header, text, schema)
}

fn parameter(name: &str, place: ParameterIn, text: &str, schema: impl Into<RefOr<Schema>>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .description(Some(text))
        .schema(Some(schema))
        .build()
}
