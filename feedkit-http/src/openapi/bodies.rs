//! The bodies of requests, and the answers of calls that are not reads.

#![allow(dead_code, reason = "these types only describe the answers of endpoints")]

use serde::Serialize;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type,
};
use utoipa::openapi::{Array, Object, Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::problem::ProblemBody;
use feedkit_core::codec::EventPolicy;
use feedkit_core::health::Component;
use feedkit_core::{EventId, Position};
use feedkit_core::{MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTE_VALUE, MAX_ATTRIBUTES, MAX_TEXT_CHARS};

/// The event is in the log.
#[derive(Serialize, ToSchema)]
pub(super) struct AcceptedAnswer {
    /// The event's id: the client's own, or the one that the gateway gave it.
    id: EventId,
    /// The event's position. A read with `after` and this value shows the event.
    #[schema(value_type = Position)]
    position: String,
}

/// The outcome of a batch.
#[derive(Serialize, ToSchema)]
pub(super) struct BatchAnswer {
    /// The number of events that are in the log.
    #[schema(minimum = 0)]
    accepted: i64,
    /// The outcome of each event, in the order of the batch.
    results: Vec<Outcome>,
}

/// The outcome of one event.
#[derive(Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "lowercase")]
pub(super) enum Outcome {
    /// The event is in the log.
    Accepted {
        /// The event's id.
        id: EventId,
        /// The event's position.
        #[schema(value_type = Position)]
        position: String,
    },
    /// The event is not valid. Do not send it again.
    Invalid {
        /// The fault of the event.
        problem: ProblemBody<'static>,
    },
    /// The log did not acknowledge the event. Send it again with the same id.
    Retry {
        /// The reason.
        problem: ProblemBody<'static>,
    },
}

/// The process answers.
#[derive(Serialize, ToSchema)]
pub(super) struct LiveAnswer {
    status: Live,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = LiveStatus)]
enum Live {
    Live,
}

/// Whether the gateway can serve requests.
#[derive(Serialize, ToSchema)]
pub(super) struct ReadyAnswer {
    status: Readiness,
    /// Every component.
    components: Vec<Component>,
}

/// Whether the gateway can serve requests.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Readiness {
    /// All components work.
    Ready,
    /// A component does not work, but the gateway serves requests.
    Degraded,
    /// Requests fail.
    Unready,
}

/// Any text without a NUL.
const NO_NUL: &str = "^[^\\u0000]*$";

/// An event, as clients send it.
pub(super) fn event(policy: &EventPolicy) -> Object {
    let kinds = ["like", "unlike", "post", "comment"].into_iter();
    let kinds = kinds.chain(policy.extra_kinds.iter().map(String::as_str));
    let kind = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("What the user did."))
        .enum_values(Some(kinds.collect::<Vec<_>>()));
    let text = ObjectBuilder::new()
        .schema_type(or_null(Type::String))
        .description(Some("The text of a post or comment. It may not contain a NUL."))
        .max_length(Some(MAX_TEXT_CHARS))
        .pattern(Some(NO_NUL));
    let attribute = ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(MAX_ATTRIBUTE_VALUE))
        .pattern(Some(NO_NUL))
        .build();
    let attributes = ObjectBuilder::new()
        .schema_type(or_null(Type::Object))
        .description(Some(format!(
            "More data to store. Names have at most {MAX_ATTRIBUTE_NAME} bytes, values {MAX_ATTRIBUTE_VALUE}, and neither may contain a NUL."
        )))
        .max_properties(Some(MAX_ATTRIBUTES))
        .property_names(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
                .max_length(Some(MAX_ATTRIBUTE_NAME))
                .pattern(Some(NO_NUL))
                .build(),
        ))
        .additional_properties(Some(AdditionalProperties::RefOr(Schema::Object(attribute).into())));
    ObjectBuilder::new()
        .description(Some("One user's action on one post. Unknown fields are refused by name."))
        .property("userId", Ref::from_schema_name("UserId"))
        .required("userId")
        .property("postId", Ref::from_schema_name("PostId"))
        .required("postId")
        .property("type", kind)
        .required("type")
        .property(
            "id",
            nullable::<EventId>("The id of the action. Sending it again with the same id is safe."),
        )
        .property("timestamp", time())
        .property("text", text)
        .property("attributes", attributes)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .examples([serde_json::json!({"userId": "u1", "postId": "p9", "type": "like"})])
        .build()
}

/// A batch of events.
pub(super) fn batch(max_events: usize) -> Array {
    ArrayBuilder::new().items(Ref::from_schema_name("Event")).max_items(Some(max_events)).build()
}

fn time() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(or_null(Type::String))
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some("When the action happened. Default: now."))
}

/// The schema of `T`, or null, which means absent.
fn nullable<T: PartialSchema>(description: &str) -> RefOr<Schema> {
    match T::schema() {
        RefOr::T(Schema::Object(mut object)) => {
            object.schema_type = or_null(Type::String);
            object.description = Some(description.to_owned());
            Schema::Object(object).into()
        }
        other => other,
    }
}

fn or_null(kind: Type) -> utoipa::openapi::schema::SchemaType {
    [kind, Type::Null].into_iter().collect()
}
