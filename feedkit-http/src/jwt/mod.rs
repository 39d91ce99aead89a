//! JSON Web Tokens: verifying them, and signing your own.
//!
//! The algorithm is pinned: a token whose header names another one is refused before any other
//! check. A token needs `sub` (a user's id) and `exp`. `nbf` is checked if it is present. `scope`
//! contains scopes separated by spaces, and `roles` is an array. `aud` and `iss` are required
//! exactly when [`JwtRules`] name them.
//!
//! ```
//! use std::time::Duration;
//!
//! use feedkit_http::jwt::{Algorithm, JwtKeys, JwtRules, JwtVerifier, NewToken, TokenSigner};
//! use feedkit_core::{Clock, SystemClock, TokenVerifier, UserId};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let secret = b"a secret of at least 32 bytes, for HS256";
//! let now = SystemClock.now();
//! let user = UserId::new("u1")?;
//! let signer = TokenSigner::new(secret)?;
//! let token = signer.sign(&NewToken { roles: &["moderator"], ..NewToken::of(&user) }, Duration::from_secs(60), now)?;
//!
//! let verifier = JwtVerifier::new(JwtKeys::Secret(secret.to_vec()), JwtRules::new(Algorithm::Hs256))?;
//! assert_eq!(verifier.verify(&token, now).await?.roles, ["moderator"]);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod algorithm;
mod claims;
mod fetched;
mod jwks;
mod key;
mod recent;
mod rules;
mod signer;
mod verifier;

pub use algorithm::Algorithm;
pub use jwks::{FileJwks, JwksSource};
pub use rules::{JwtKeys, JwtRules};
pub use signer::{NewToken, TokenSigner};
pub use verifier::JwtVerifier;
