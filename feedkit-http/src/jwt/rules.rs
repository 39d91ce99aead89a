//! The rules for tokens, and the keys that verify them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Algorithm, JwksSource};

/// The keys that verify tokens.
#[derive(Clone)]
pub enum JwtKeys {
    /// A shared secret of at least 32 bytes, for HS256.
    Secret(Vec<u8>),
    /// One public key as PEM.
    PublicKey(Vec<u8>),
    /// A JWKS document. Its keys for other algorithms and uses are ignored.
    Jwks(Vec<u8>),
    /// A JWKS document that is fetched, and fetched again when keys rotate.
    Source(Arc<dyn JwksSource>),
}

impl fmt::Debug for JwtKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JwtKeys::Secret(_) => "Secret(…)",
            JwtKeys::PublicKey(_) => "PublicKey(…)",
            JwtKeys::Jwks(_) => "Jwks(…)",
            JwtKeys::Source(_) => "Source(…)",
        })
    }
}

/// The rules that a token must satisfy.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JwtRules {
    /// The algorithm. A token that names another one is refused.
    pub algorithm: Algorithm,
    /// The required issuer (`iss`). If it is `None`, `iss` is not checked.
    pub issuer: Option<String>,
    /// The required audience (`aud`). If it is `None`, `aud` is not checked.
    pub audience: Option<String>,
    /// The allowed clock difference for `exp` and `nbf`.
    pub leeway: Duration,
    /// How many verified tokens are cached; 0 turns the cache off.
    pub remembered: usize,
    /// How long after a fetch an unknown `kid` causes no other fetch.
    pub fetch_cooldown: Duration,
    /// How long fetched keys are used before they are fetched again. If that fails, they stay in
    /// use.
    pub max_key_age: Duration,
    /// How long fetching keys may take.
    pub fetch_timeout: Duration,
}

impl JwtRules {
    /// Rules that accept tokens signed with `algorithm`, of any issuer and audience, without
    /// leeway.
    pub fn new(algorithm: Algorithm) -> Self {
        JwtRules {
            algorithm,
            issuer: None,
            audience: None,
            leeway: Duration::ZERO,
            remembered: 16_384,
            fetch_cooldown: Duration::from_secs(30),
            max_key_age: Duration::from_secs(600),
            fetch_timeout: Duration::from_secs(5),
        }
    }
}
