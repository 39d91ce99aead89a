//! OpenAPI schemas of the identifiers, positions and times (feature `schema`).

use std::borrow::Cow;

use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::{EventId, MAX_ID_LEN, Position, PostId, Timestamp, UserId};

/// A UUIDv7.
const EVENT_ID: &str =
    "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$";

fn text(description: &str, example: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description)).examples([example])
}

fn id(description: &str, example: &str) -> Object {
    let pattern = format!("^[A-Za-z0-9._~:@-]{{1,{MAX_ID_LEN}}}$");
    text(description, example).min_length(Some(1)).max_length(Some(MAX_ID_LEN)).pattern(Some(pattern)).build()
}

macro_rules! schemas {
    ($($type:ident = $schema:expr;)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                Schema::Object($schema).into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($type))
            }
        }
    )*};
}

schemas! {
    UserId = id("A user.", "u1");
    PostId = id("A post.", "p9");
    EventId = text("The id of an event, a UUIDv7.", "01935d8e-7a00-7000-8000-000000000000")
        .format(Some(SchemaFormat::Custom("uuid".to_owned())))
        .pattern(Some(EVENT_ID))
        .build();
    Position = text("A position in the log, just after a record, in the form `PARTITION:OFFSET`.", "0:0")
        .pattern(Some("^[0-9]{1,9}:[0-9]{1,18}$"))
        .build();
    Timestamp = text("A time in the form of RFC 3339. Answers are in UTC.", "2026-11-24T08:00:00Z")
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .build();
}
