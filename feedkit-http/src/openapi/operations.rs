//! All calls, with their answers.

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
        health("isLive", "Whether the process answers")
            .response("200", json("The process answers.", "LiveAnswer")),
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
    write("postEvent", "Send one event")
        .description(Some(
            "Answers when the log has acknowledged the event. Sending an event again with the same id is safe, and \
             gets the same answer.",
        ))
        .parameter(p::idempotency_key())
        .request_body(Some(body))
        .response("202", limited(json("The event is in the log.", "AcceptedAnswer")))
}

fn post_batch(options: &GatewayOptions) -> OperationBuilder {
    let array = ContentBuilder::new().schema(Some(bodies::batch(options.max_batch_events))).build();
    let lines =
        ObjectBuilder::new().schema_type(Type::String).description(Some("One event per line.")).build();
    let lines = ContentBuilder::new().schema(Some(Schema::Object(lines))).build();
    let body = RequestBodyBuilder::new()
        .content("application/json", array)
        .content("application/x-ndjson", lines)
        .required(Some(Required::True))
        .build();
    write("postEvents", "Send many events")
        .description(Some(format!(
            "At most {} events, as an array or one per line. The answer has one outcome per event, in the same order. \
             A batch of n events costs n of the rate limit.",
            options.max_batch_events
        )))
        .request_body(Some(body))
        .response("200", limited(json("The outcome of each event.", "BatchAnswer")))
}

fn read_post(options: &GatewayOptions) -> OperationBuilder {
    read(options, "readPost", "One post")
        .parameter(p::post())
        .parameter(p::after())
        .response("200", json("The post. An unknown post has zero counts and no author.", "PostAnswer"))
}

fn read_comments(options: &GatewayOptions) -> OperationBuilder {
    read(options, "readComments", "A post's comments, newest first")
        .parameter(p::post())
        .parameter(p::limit())
        .parameter(p::comment_cursor())
        .parameter(p::after())
        .response("200", json("A page of comments.", "CommentsAnswer"))
}

fn read_activity(options: &GatewayOptions) -> OperationBuilder {
    read(options, "readActivity", "The activity of a post by hour or by day")
        .description(Some("At most 744 hours or 1,098 days. Empty buckets are omitted."))
        .parameter(p::post())
        .parameter(p::choice("by", "The width of the buckets.", &["hour", "day"], "hour"))
        .parameter(p::time(
            "from",
            "The buckets start at or after this time. Default: 24 hours or 30 days before `to`.",
        ))
        .parameter(p::time(
            "to",
            "The buckets start before this time. By default, the current bucket is the last.",
        ))
        .parameter(p::after())
        .response("200", json("The buckets, oldest first.", "ActivityAnswer"))
}

fn read_top(options: &GatewayOptions) -> OperationBuilder {
    let windows = &["1h", "24h", "7d", "30d", "all"];
    read(options, "readTop", "The most liked posts, or the trending posts")
        .description(Some(
            "Lists for a `window` come from the history and may be a few seconds old. The other lists are real-time.",
        ))
        .parameter(p::choice("by", "The order of the list.", &["likes", "trending"], "likes"))
        .parameter(p::choice(
            "window",
            "The window in which likes count. Only with `by=likes`.",
            windows,
            "all",
        ))
        .parameter(p::limit())
        .parameter(p::after())
        .response("200", json("The list, highest first.", "TopAnswer"))
}

fn read_likes() -> OperationBuilder {
    personal("readMyLikes", "Which of the given posts the caller likes", "posts")
        .parameter(p::posts())
        .parameter(p::after())
        .response("504", problem(504))
        .response("200", json("The given posts that the caller likes.", "LikedAnswer"))
}

fn read_alerts() -> OperationBuilder {
    personal("readAlerts", "Alerts, newest first, for moderators", "alerts")
        .description(Some("This requires the role `moderator`."))
        .parameter(p::limit())
        .parameter(p::alert_cursor())
        .parameter(p::after())
        .response("403", problem(403))
        .response("504", problem(504))
        .response("200", json("A page of alerts.", "AlertsAnswer"))
}

fn open_socket() -> OperationBuilder {
    answering(operation("openSocket", "A WebSocket for notifications", "live"), &[400, 403, 429, 503])
        .description(Some(
            "The client sends its token in the first frame, or as a second `Sec-WebSocket-Protocol` after \
             `feedkit.v1`. The AsyncAPI document describes the frames.",
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
    health("isReady", "Whether the gateway can serve requests, with each component")
        .response("200", json("The gateway serves requests.", "ReadyAnswer"))
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

/// A call that needs no token.
fn health(id: &str, summary: &str) -> OperationBuilder {
    answering(operation(id, summary, "operation"), &[]).security(SecurityRequirement::default())
}

fn write(id: &str, summary: &str) -> OperationBuilder {
    answering(operation(id, summary, "events"), &[400, 401, 403, 408, 413, 415, 422, 429, 503])
        .security(bearer())
}

/// A read that needs no token, unless the options require one.
fn read(options: &GatewayOptions, id: &str, summary: &str) -> OperationBuilder {
    let read = answering(operation(id, summary, "posts"), &[400, 401, 422, 503, 504]);
    let read = if options.reads_need_token { read } else { read.security(SecurityRequirement::default()) };
    read.security(bearer())
}

/// A read whose answer depends on the caller.
fn personal(id: &str, summary: &str, tag: &str) -> OperationBuilder {
    answering(operation(id, summary, tag), &[400, 401, 422, 503]).security(bearer())
}

/// Adds these problems to the answers, and the one that every call may have.
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
