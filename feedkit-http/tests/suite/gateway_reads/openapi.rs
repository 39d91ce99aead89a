//! The OpenAPI document describes every call.

use std::sync::atomic::Ordering::Relaxed;

use feedkit_http::openapi::openapi;
use poem::Endpoint;
use serde_json::{Value, json};

use super::schema::{faults, resolve};
use super::world::{World, request};

/// Every call of a gateway.
const CALLS: &[(&str, &str)] = &[
    ("post", "/api/events"),
    ("post", "/api/events/batch"),
    ("get", "/api/posts/{id}"),
    ("get", "/api/posts/{id}/comments"),
    ("get", "/api/posts/{id}/activity"),
    ("get", "/api/posts/top"),
    ("get", "/api/users/me/likes"),
    ("get", "/api/alerts"),
    ("get", "/ws"),
    ("get", "/api/notifications/stream"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/docs"),
];

fn document() -> Value {
    serde_json::to_value(openapi()).unwrap()
}

/// Calls `visit` with every value in `json`, and where it is.
fn walk<'a>(json: &'a Value, at: &str, visit: &mut impl FnMut(&str, &'a Value)) {
    visit(at, json);
    match json {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| walk(value, &format!("{at}/{name}"), visit))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, value)| walk(value, &format!("{at}/{i}"), visit))
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_served_and_names_every_call() {
    let world = World::new().await;
    let served = world.get("/openapi.json").await.ok();
    assert_eq!(served, document());
    assert_eq!(served["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut calls = Vec::new();
    for (path, item) in served["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            calls.push((method.as_str(), path.as_str()));
        }
    }
    calls.sort_unstable();
    let mut expected = CALLS.to_vec();
    expected.sort_unstable();
    assert_eq!(calls, expected);
}

#[test]
fn all_references_lead_somewhere_and_nothing_is_left_over() {
    let document = document();
    let mut used = std::collections::BTreeSet::new();
    walk(&document, "", &mut |_, value| {
        if value.get("$ref").is_some_and(Value::is_string) {
            resolve(&document, value);
            used.insert(value["$ref"].as_str().unwrap().to_owned());
        }
    });
    for kind in ["schemas", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            // Every problem is described, also those that only some deployments answer.
            let reference = format!("#/components/{kind}/{name}");
            let seldom = ["Problem404", "Problem405", "Problem504"].iter().any(|p| reference.ends_with(p));
            let plain = ["Position", "EventId", "Timestamp", "UserId", "PostId"].contains(&name.as_str());
            assert!(used.contains(&reference) || seldom || plain, "{reference} is not used");
        }
    }
}

#[test]
fn every_call_says_what_it_may_answer() {
    let document = document();
    let mut ids = std::collections::BTreeSet::new();
    for (method, path) in CALLS {
        let call = &document["paths"][path][method];
        let responses = call["responses"].as_object().unwrap();
        println!("{method} {path}: {:?}", responses.keys().collect::<Vec<_>>());
        assert!(ids.insert(call["operationId"].as_str().unwrap()), "{path}: its id is not its own");
        assert!(call["summary"].is_string() && call["tags"].is_array());
        assert!(responses.keys().any(|status| status.starts_with('2') || status == "101"));
        assert!(responses.contains_key("500"));
        for (status, response) in responses {
            let response = resolve(&document, response);
            assert!(response["headers"]["X-Request-Id"].is_object(), "{path} {status}");
            let status: u16 = status.parse().unwrap();
            if status >= 400 && !(*path == "/health/ready" && status == 503) {
                let content = &response["content"]["application/problem+json"]["schema"];
                assert_eq!(content["$ref"], "#/components/schemas/Problem", "{path} {status}");
            }
            if matches!(status, 429 | 503) && path.starts_with("/api") {
                assert!(response["headers"]["Retry-After"].is_object(), "{path} {status}");
            }
        }
        let has = |statuses: &[&str]| {
            for status in statuses {
                assert!(responses.contains_key(*status), "{method} {path} says nothing of {status}");
            }
        };
        match (*method, *path) {
            ("post", _) => {
                has(&["400", "401", "403", "408", "413", "415", "422", "429", "503"]);
                let taken = responses.get("202").or(responses.get("200")).unwrap();
                assert!(taken["headers"]["RateLimit-Remaining"].is_object());
                assert!(call["requestBody"]["content"]["application/json"]["schema"].is_object());
                assert_eq!(call["security"], json!([{"bearer": []}]));
            }
            (_, "/api/alerts") => has(&["401", "403", "422", "503", "504"]),
            (_, path) if path.starts_with("/api") && !path.contains("stream") => {
                has(&["401", "422", "503", "504"])
            }
            _ => {}
        }
    }
}

#[test]
fn parameters_and_bodies_are_tight() {
    let document = document();
    for (method, path) in CALLS {
        let call = &document["paths"][path][method];
        for parameter in call["parameters"].as_array().into_iter().flatten() {
            let schema = resolve(&document, &parameter["schema"]);
            let bounded = match schema["type"].as_str().unwrap() {
                "string" => {
                    schema["pattern"].is_string()
                        || schema["enum"].is_array()
                        || schema["format"] == "date-time"
                        || parameter["in"] == "header"
                }
                "integer" => schema["minimum"].is_number() && schema["maximum"].is_number(),
                "array" => schema["minItems"].is_number() && schema["maxItems"].is_number(),
                other => panic!("{path}: a parameter of type {other}"),
            };
            assert!(bounded, "{path}: {} may be anything", parameter["name"]);
            assert!(parameter["description"].is_string());
        }
    }
    let event = &document["components"]["schemas"]["Event"];
    assert_eq!(event["additionalProperties"], false);
    assert_eq!(event["required"], json!(["userId", "postId", "type"]));
    assert_eq!(event["properties"]["type"]["enum"], json!(["like", "unlike", "post", "comment"]));
    let sample = json!({
        "userId": "u1", "postId": "p9", "type": "comment", "text": "x", "attributes": {"a": "b"},
        "id": "01935d8e-7a00-7000-8000-000000000000", "timestamp": null
    });
    assert_eq!(faults(&document, event, &sample, ""), Vec::<String>::new());
}

#[tokio::test]
async fn answers_are_as_the_document_says() {
    let world = World::new().await;
    let document = document();
    world.commit(&[("w", "p", "post"), ("a", "p", "like"), ("b", "p", "comment"), ("a", "q", "like")]).await;
    world.raise(0, 3).await;
    let calls = [
        ("/api/posts/{id}", "/api/posts/p"),
        ("/api/posts/{id}", "/api/posts/new"),
        ("/api/posts/{id}/comments", "/api/posts/p/comments?limit=1"),
        ("/api/posts/{id}/activity", "/api/posts/p/activity?by=day"),
        ("/api/posts/top", "/api/posts/top"),
        ("/api/posts/top", "/api/posts/top?by=trending"),
        ("/api/posts/top", "/api/posts/top?window=24h"),
        ("/api/users/me/likes", "/api/users/me/likes?posts=p,q"),
        ("/api/alerts", "/api/alerts?limit=2"),
        ("/api/posts/{id}", "/api/posts/p?x=1"),
        ("/api/posts/{id}", "/api/posts/p?after=9:9"),
        ("/api/users/me/likes", "/api/users/me/likes"),
    ];
    for counters in [true, false] {
        world.counters.fail.store(!counters, Relaxed);
        for (path, uri) in calls {
            let answer = world.get_as("token-of-m", uri).await;
            let responses = &document["paths"][path]["get"]["responses"];
            let response = resolve(&document, &responses[answer.status.as_str()]);
            let content = &response["content"][answer.headers["content-type"].to_str().unwrap()];
            assert!(content.is_object(), "{uri}: {} is not described", answer.status);
            assert_eq!(faults(&document, &content["schema"], &answer.json, uri), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn the_page_asks_nobody_else() {
    let world = World::new().await;
    let fetch = async |path: &str| {
        let response = world.routes.get_response(request(path)).await;
        let (parts, body) = response.into_parts();
        (parts, body.into_vec().await.unwrap())
    };
    let (parts, page) = fetch("/docs").await;
    let page = String::from_utf8(page).unwrap();
    assert_eq!(parts.status, 200);
    assert_eq!(parts.headers["content-type"], "text/html; charset=utf-8");
    let policy = parts.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{policy}");
    assert!(!policy.contains("http") && !policy.contains('*') && !policy.contains("unsafe"), "{policy}");
    assert!(!page.contains("//") && !page.contains("<script>"), "{page}");

    // All that the page names is served, relative to it, from here.
    let mut named = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        named.extend(page.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()));
    }
    assert_eq!(named.len(), 4, "{named:?}");
    for name in named {
        let (parts, body) = fetch(&format!("/{name}")).await;
        assert_eq!(parts.status, 200, "{name}");
        assert!(!body.is_empty(), "{name}");
        if name.ends_with("start.js") {
            let script = String::from_utf8(body).unwrap();
            assert!(script.contains("url: \"openapi.json\"") && script.contains("validatorUrl: null"));
            assert!(!script.contains("http"), "{script}");
        }
    }
    let (parts, _) = fetch("/docs/").await;
    assert_eq!((parts.status.as_u16(), parts.headers["location"].to_str().unwrap()), (308, "../docs"));
    assert_eq!(fetch("/docs/swagger-initializer.js").await.0.status, 404, "only what is needed is served");
}

/// `docs/openapi.json` is what the code says. `FEEDKIT_WRITE_OPENAPI=1` writes it.
#[test]
fn the_document_in_the_docs_is_in_step() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let made = serde_json::to_string_pretty(&feedkit_http::openapi::openapi()).unwrap() + "\n";
    if std::env::var_os("FEEDKIT_WRITE_OPENAPI").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(kept == made, "make it anew: FEEDKIT_WRITE_OPENAPI=1 cargo test -p feedkit-http in_step");
}
