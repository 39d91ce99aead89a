//! Tokens of users, signed here with the secret that a server knows.

use feedkit_core::{Clock, SystemClock};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

/// What a token says of a user. It is valid for an hour.
pub fn claims(user: &str, roles: &[&str], scopes: &[&str]) -> Value {
    let hour = SystemClock.now().as_millis() / 1000 + 3600;
    json!({"sub": user, "exp": hour, "roles": roles, "scope": scopes.join(" ")})
}

/// A token with these claims, signed by HS256.
pub fn token(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), claims, &key).unwrap()
}
