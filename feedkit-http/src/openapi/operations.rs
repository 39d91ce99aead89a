//! Every call there is, with all that it may answer.

use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, Paths, Ref, RefOr, Required, Schema};

use super::responses::{BEARER, json, limited, plain, problem, text, with_content};
use super::{bodies, parameters as p};
use crate::GatewayOptions;

/// All paths.
pub(super) fn paths(options: &GatewayOptions) -> Paths {
    let mut paths = Paths::new();
    let mut add = |path: &str, method, operation: OperationBuilder| {
        let operation: Operation = operation.build();
        paths.add_path_operation(path, vec![method], operation);
    };
    use HttpMethod::{Get, Post};
    add("/api/events", Post, post_event());
    add("/api/events/batch", Post, post_batch(options));
    add("/api/posts/{id}", Get, read_post(options));
    add("/api/posts/{id}/comments", Get, read_comments(options));
    add("/api/posts/{id}/activity", Get, read_activity(options));
    add("/api/posts/top", Get, read_top(options));
    add("/api/users/me/likes", Get, read_likes());
    add("/api/alerts", Get, read_alerts());
    add("/ws", Get, open_socket());
    add("/api/notifications/stream", Get, open_stream(options));
    add(
        "/health/live",
        Get,
        health("isLive", "Whether the process answers").response("200", json("It does.", "LiveAnswer")),
    );
    add("/health/ready", Get, ready());
    add("/metrics", Get, metrics());
    add("/openapi.json", Get, this_document());
    add("/docs", Get, docs());
    paths
}

fn post_event() -> OperationBuilder {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Event"))).build();
    let body =
        RequestBodyBuilder::new().content("application/json", body).required(Some(Required::True)).build();
    write("postEvent", "Take one event in")
        .description(Some(
            "Answers when the log has acknowledged the event. Sending one again with the same id is safe, and answered \
             the same.",
        ))
        .parameter(p::idempotency_key())
        .request_body(Some(body))
        .response("202", limited(json("The event is in the log.", "AcceptedAnswer")))
}

fn post_batch(options: &GatewayOptions) -> OperationBuilder {
    let array = ContentBuilder::new().schema(Some(bodies::batch(options.max_batch_events))).build();
    let lines = ObjectBuilder::new().schema_type(Type::String).description(Some("An event a line.")).build();
    let lines = ContentBuilder::new().schema(Some(Schema::Object(lines))).build();
    let body = RequestBodyBuilder::new()
        .content("application/json", array)
        .content("application/x-ndjson", lines)
        .required(Some(Required::True))
        .build();
    write("postEvents", "Take many events in")
        .description(Some(format!(
            "At most {} events, as an array or a line each; each has an outcome of its own, in order. A batch of n \
             spends n of what the rate limit allows.",
            options.max_batch_events
        )))
        .request_body(Some(body))
        .response("200", limited(json("What became of each event.", "BatchAnswer")))
}

fn read_post(options: &GatewayOptions) -> OperationBuilder {
    read(options, "readPost", "One post as it stands")
        .parameter(p::post())
        .parameter(p::after())
        .response("200", json("The post; with zeros and no author while nobody has named it.", "PostAnswer"))
}

fn read_comments(options: &GatewayOptions) -> OperationBuilder {
    read(options, "readComments", "A post's comments, newest first")
        .parameter(p::post())
        .parameter(p::limit())
        .parameter(p::comment_cursor())
        .parameter(p::after())
        .response("200", json("A page of them.", "CommentsAnswer"))
}

fn read_activity(options: &GatewayOptions) -> OperationBuilder {
    read(options, "readActivity", "What happened to a post, by hour or by day")
        .description(Some("At most 744 hours or 1,098 days. Buckets in which nothing happened are left out."))
        .parameter(p::post())
        .parameter(p::choice("by", "The buckets' width.", &["hour", "day"], "hour"))
        .parameter(p::time(
            "from",
            "Buckets that start from here on; by default 24 hours or 30 days before `to`.",
        ))
        .parameter(p::time("to", "Buckets that start before; by default the present one is the last."))
        .parameter(p::after())
        .response("200", json("The buckets, oldest first.", "ActivityAnswer"))
}

fn read_top(options: &GatewayOptions) -> OperationBuilder {
    let windows = &["1h", "24h", "7d", "30d", "all"];
    read(options, "readTop", "The most liked posts, or those that trend")
        .description(Some(
            "Lists for a `window` come from the history and may be a little old; the others are real-time.",
        ))
        .parameter(p::choice("by", "What they are ordered by.", &["likes", "trending"], "likes"))
        .parameter(p::choice(
            "window",
            "How far back likes count; goes with `by=likes` only.",
            windows,
            "all",
        ))
        .parameter(p::limit())
        .parameter(p::after())
        .response("200", json("The list, the first the highest.", "TopAnswer"))
}

fn read_likes() -> OperationBuilder {
    personal("readMyLikes", "Which of some posts the asker likes", "posts")
        .parameter(p::posts())
        .parameter(p::after())
        .response("504", problem(504))
        .response("200", json("Those that they like.", "LikedAnswer"))
}

fn read_alerts() -> OperationBuilder {
    personal("readAlerts", "Alerts, newest first, for moderators", "alerts")
        .description(Some("Needs the role `moderator`."))
        .parameter(p::limit())
        .parameter(p::alert_cursor())
        .parameter(p::after())
        .response("403", problem(403))
        .response("504", problem(504))
        .response("200", json("A page of them.", "AlertsAnswer"))
}

fn open_socket() -> OperationBuilder {
    answering(operation("openSocket", "A WebSocket for notifications", "live"), &[400, 403, 429, 503])
        .description(Some(
            "The token is sent inside, as the first frame, or as a second `Sec-WebSocket-Protocol` after `feedkit.v1`. \
             The frames are described in the AsyncAPI document.",
        ))
        .security(SecurityRequirement::default())
        .response("101", plain("The socket is open."))
        .response("426", with_problem("This path is a WebSocket."))
}

fn open_stream(options: &GatewayOptions) -> OperationBuilder {
    personal("openStream", "Notifications as server-sent events", "live")
        .parameter(p::channels(options.live.max_channels))
        .parameter(p::last_event_id())
        .response("403", problem(403))
        .response("429", problem(429))
        .response("200", text("Events, for as long as the client stays.", "text/event-stream"))
}

fn ready() -> OperationBuilder {
    health("isReady", "Whether to send requests here, component by component")
        .response("200", json("Requests are served.", "ReadyAnswer"))
        .response("503", json("Requests fail, or the gateway is stopping.", "ReadyAnswer"))
}

fn metrics() -> OperationBuilder {
    health("readMetrics", "Metrics for Prometheus")
        .response("200", text("The metrics.", "text/plain; version=0.0.4"))
}

fn this_document() -> OperationBuilder {
    let document = ObjectBuilder::new().schema_type(Type::Object).build();
    health("readOpenApi", "This document").response(
        "200",
        with_content("An OpenAPI 3.1 document.", "application/json", Schema::Object(document)),
    )
}

fn docs() -> OperationBuilder {
    health("readDocs", "This document as a page")
        .response("200", text("The page.", "text/html; charset=utf-8"))
}

fn operation(id: &str, summary: &str, tag: &str) -> OperationBuilder {
    OperationBuilder::new().operation_id(Some(id)).summary(Some(summary)).tag(tag)
}

/// A call that is answered to anybody, whatever it says.
fn health(id: &str, summary: &str) -> OperationBuilder {
    answering(operation(id, summary, "operation"), &[]).security(SecurityRequirement::default())
}

fn write(id: &str, summary: &str) -> OperationBuilder {
    answering(operation(id, summary, "events"), &[400, 401, 403, 408, 413, 415, 422, 429, 503])
        .security(bearer())
}

/// A read that is open to anybody, unless the options say otherwise.
fn read(options: &GatewayOptions, id: &str, summary: &str) -> OperationBuilder {
    let read = answering(operation(id, summary, "posts"), &[400, 401, 422, 503, 504]);
    let read = if options.reads_need_token { read } else { read.security(SecurityRequirement::default()) };
    read.security(bearer())
}

/// A read that depends on who asks.
fn personal(id: &str, summary: &str, tag: &str) -> OperationBuilder {
    answering(operation(id, summary, tag), &[400, 401, 422, 503]).security(bearer())
}

/// May be answered by these problems, besides those that anything may be answered by.
fn answering(operation: OperationBuilder, problems: &[u16]) -> OperationBuilder {
    let operation = operation.response("500", problem(500));
    problems
        .iter()
        .fold(operation, |operation, status| operation.response(status.to_string(), problem(*status)))
}

fn bearer() -> SecurityRequirement {
    SecurityRequirement::new(BEARER, std::iter::empty::<&str>())
}

fn with_problem(text: &str) -> ResponseBuilder {
    let schema: RefOr<Schema> = Ref::from_schema_name("Problem").into();
    with_content(text, "application/problem+json", schema)
}
