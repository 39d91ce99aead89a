//! Tokens for invented users.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

/// Signs tokens that expire after a day.
pub struct Tokens(EncodingKey);

impl Tokens {
    /// Reads the secret from a file, without a newline at its end.
    pub fn read(secret: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let secret = std::fs::read(secret).map_err(|e| format!("{}: {e}", secret.display()))?;
        Ok(Tokens(EncodingKey::from_secret(secret.strip_suffix(b"\n").unwrap_or(&secret))))
    }

    /// A token for `user`.
    pub fn of(&self, user: &str) -> Result<String, Box<dyn std::error::Error>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = json!({ "sub": user, "exp": now + 86_400, "scope": "events:write:any" });
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.0)?)
    }
}
