//! What a token must satisfy, and the keys that verify it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Algorithm, JwksSource};

/// Where the keys are that tokens are verified with.
#[derive(Clone)]
pub enum JwtKeys {
    /// A shared secret of at least 32 bytes, as it is. For HS256.
    Secret(Vec<u8>),
    /// One public key as PEM.
    PublicKey(Vec<u8>),
    /// A JWKS document. Keys of other algorithms and uses in it are passed over.
    Jwks(Vec<u8>),
    /// A JWKS document that is fetched, and fetched again as keys rotate.
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

/// Which tokens are believed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JwtRules {
    /// The algorithm; a token that names another is refused.
    pub algorithm: Algorithm,
    /// Who has to have issued a token (`iss`). Without, `iss` is not looked at.
    pub issuer: Option<String>,
    /// Whom a token has to be meant for (`aud`). Without, `aud` is not looked at.
    pub audience: Option<String>,
    /// How far the clock that set `exp` and `nbf` may be off.
    pub leeway: Duration,
    /// Tokens that are remembered as verified; 0 for none.
    pub remembered: usize,
    /// How long after a fetch of keys a token with an unknown `kid` leads to no other one.
    pub fetch_cooldown: Duration,
    /// How long fetched keys are used before they are fetched again. Keys that cannot be fetched again stay in use.
    pub max_key_age: Duration,
    /// How long fetching keys may take.
    pub fetch_timeout: Duration,
}

impl JwtRules {
    /// Tokens signed by `algorithm`; any issuer and audience, no leeway.
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
