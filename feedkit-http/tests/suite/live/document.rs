//! docs/asyncapi.yaml, and what is compared with it: every frame that a test says or hears.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/asyncapi.yaml");
    serde_norway::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
});

static VALIDATORS: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
    let messages = DOCUMENT["components"]["messages"].as_object().unwrap();
    let validator = |kind: &String| {
        let schema = json!({
            "allOf": [{"$ref": format!("#/components/messages/{kind}/payload")}],
            "components": DOCUMENT["components"],
        });
        (kind.clone(), jsonschema::draft7::new(&schema).unwrap())
    };
    messages.keys().map(validator).collect()
});

/// Fails unless `frame` is one that `operation` of the document has.
pub(super) fn check(operation: &str, frame: &Value) {
    let kind = frame["type"].as_str().unwrap_or_else(|| panic!("a frame without a type: {frame}"));
    assert!(messages(operation).iter().any(|name| name == kind), "{operation} has no {kind}: {frame}");
    let errors: Vec<_> = VALIDATORS[kind].iter_errors(frame).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{frame}: {errors:?}");
}

/// Fails unless the document has this close code.
pub(super) fn check_code(code: u16) {
    assert!(close_codes().contains(&code), "the document has no close code {code}");
}

fn close_codes() -> Vec<u16> {
    let codes = DOCUMENT["channels"]["socket"]["x-close-codes"].as_object().unwrap();
    codes.keys().map(|code| code.parse().unwrap()).collect()
}

/// The names of an operation's messages.
fn messages(operation: &str) -> Vec<String> {
    let listed = DOCUMENT["operations"][operation]["messages"].as_array().unwrap();
    let name = |message: &Value| message["$ref"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    listed.iter().map(name).collect()
}

#[test]
fn it_lists_the_protocol() {
    assert_eq!(DOCUMENT["asyncapi"], "3.0.0");
    assert_eq!(close_codes(), [1001, 1012, 4001, 4002, 4003, 4008, 4009, 4029]);
    assert_eq!(messages("hearClient"), ["auth", "subscribe", "unsubscribe", "ping"]);
    assert_eq!(messages("tellSocket"), ["ready", "subscribed", "notification", "counts", "error", "pong"]);
    assert_eq!(messages("tellStream"), ["subscribed", "notification", "counts", "error", "closing"]);
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(to)) = members.get("$ref") {
                    assert!(DOCUMENT.pointer(to.trim_start_matches('#')).is_some(), "{to}");
                }
                members.values().for_each(walk);
            }
            Value::Array(items) => items.iter().for_each(walk),
            _ => {}
        }
    }
    walk(&DOCUMENT);
}

#[test]
#[should_panic(expected = "hearClient has no notification")]
fn a_frame_of_the_other_side_is_refused() {
    check("hearClient", &json!({"type": "notification"}));
}

#[test]
#[should_panic(expected = "required property")]
fn a_frame_that_lacks_something_is_refused() {
    check("tellSocket", &json!({"type": "counts", "postId": "p9"}));
}
