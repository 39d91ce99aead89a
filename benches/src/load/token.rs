//! Tokens for made-up users.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

/// Signs tokens that run out in a day.
pub struct Tokens(EncodingKey);

impl Tokens {
    /// Signs with the bytes of `secret`, without a newline at their end.
    pub fn read(secret: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let secret = std::fs::read(secret).map_err(|e| format!("{}: {e}", secret.display()))?;
        Ok(Tokens(EncodingKey::from_secret(secret.strip_suffix(b"\n").unwrap_or(&secret))))
    }

    /// A token of `user`.
    pub fn of(&self, user: &str) -> Result<String, Box<dyn std::error::Error>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = json!({ "sub": user, "exp": now + 86_400, "scope": "events:write:any" });
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.0)?)
    }
}
