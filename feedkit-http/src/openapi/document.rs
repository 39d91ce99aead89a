//! Assembling the document.

use utoipa::ToSchema;
use utoipa::openapi::schema::ComponentsBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, InfoBuilder, OpenApi, OpenApiBuilder, RefOr, Schema};

use super::{bodies, operations, responses};
use crate::GatewayOptions;
use crate::problem::ProblemBody;
use crate::reads::{ActivityAnswer, AlertsAnswer, CommentsAnswer, LikedAnswer, PostAnswer, TopAnswer};
use feedkit_core::codec::EventPolicy;
use feedkit_core::{EventId, Position, PostId, Timestamp, UserId};

/// The API of a gateway with the options there are by default, as an OpenAPI 3.1 document.
///
/// ```
/// let document = feedkit_http::openapi::openapi();
/// assert!(document.paths.paths.contains_key("/api/posts/{id}"));
/// ```
pub fn openapi() -> OpenApi {
    document(&GatewayOptions::default())
}

/// The API of a gateway with these options.
pub(super) fn document(options: &GatewayOptions) -> OpenApi {
    let info = InfoBuilder::new()
        .title("feedkit")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "A real-time social feed. It accepts users' actions, counts each exactly once, and notifies the people \
             concerned. Times are RFC 3339 in UTC. Errors are `application/problem+json` (RFC 9457) with a stable \
             `type`.",
        ))
        .license(Some(utoipa::openapi::License::new(env!("CARGO_PKG_LICENSE"))))
        .build();
    let tags = [
        ("events", "Users' actions."),
        ("posts", "Posts and their counts. Counts are real-time; the rest comes from the history."),
        ("alerts", "The alerts of the rules."),
        ("live", "Notifications as they happen."),
        ("operation", "Health, metrics and this document."),
    ];
    let tags = tags.map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build());
    OpenApiBuilder::new()
        .info(info)
        .tags(Some(tags))
        .paths(operations::paths(options))
        .components(Some(components(&options.events)))
        .build()
}

fn components(policy: &EventPolicy) -> Components {
    let mut schemas: Vec<(String, RefOr<Schema>)> = Vec::new();
    with::<PostAnswer>(&mut schemas);
    with::<CommentsAnswer>(&mut schemas);
    with::<ActivityAnswer>(&mut schemas);
    with::<TopAnswer>(&mut schemas);
    with::<LikedAnswer>(&mut schemas);
    with::<AlertsAnswer>(&mut schemas);
    with::<bodies::AcceptedAnswer>(&mut schemas);
    with::<bodies::BatchAnswer>(&mut schemas);
    with::<bodies::LiveAnswer>(&mut schemas);
    with::<bodies::ReadyAnswer>(&mut schemas);
    with::<ProblemBody<'static>>(&mut schemas);
    for (name, schema) in [
        (UserId::name(), <UserId as utoipa::PartialSchema>::schema()),
        (PostId::name(), <PostId as utoipa::PartialSchema>::schema()),
        (EventId::name(), <EventId as utoipa::PartialSchema>::schema()),
        (Position::name(), <Position as utoipa::PartialSchema>::schema()),
        (Timestamp::name(), <Timestamp as utoipa::PartialSchema>::schema()),
    ] {
        schemas.push((name.into_owned(), schema));
    }
    schemas.push(("Event".to_owned(), bodies::event(policy).into()));

    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "A JSON Web Token with `sub` (the user) and `exp`; `scope` may hold `events:write:any`, `roles` may hold \
             `moderator`.",
        ))
        .build();
    responses::problems()
        .fold(ComponentsBuilder::new(), |components, (name, response)| components.response(name, response))
        .schemas_from_iter(schemas)
        .security_scheme(responses::BEARER, SecurityScheme::Http(bearer))
        .build()
}

/// A type's schema, and those that it refers to.
fn with<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}
