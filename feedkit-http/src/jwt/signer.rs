//! Signs tokens with a shared secret.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;

use super::claims::{Audience, Claims};
use super::key::check_secret;
use feedkit_core::{Error, Result, Timestamp, UserId};

/// Signs tokens with a shared secret (HS256): for trials, tests, and programs that are their own
/// issuer.
pub struct TokenSigner(EncodingKey);

/// The contents of a new token.
#[derive(Debug, Clone, Copy)]
pub struct NewToken<'a> {
    /// The user.
    pub user: &'a UserId,
    /// The user's roles.
    pub roles: &'a [&'a str],
    /// The scopes. A scope contains no spaces.
    pub scopes: &'a [&'a str],
    /// The issuer (`iss`), if the verifier requires one.
    pub issuer: Option<&'a str>,
    /// The audience (`aud`), if the verifier requires one.
    pub audience: Option<&'a str>,
}

impl<'a> NewToken<'a> {
    /// A token for `user`, without roles or scopes.
    pub fn of(user: &'a UserId) -> Self {
        NewToken { user, roles: &[], scopes: &[], issuer: None, audience: None }
    }
}

impl TokenSigner {
    /// A signer with this secret, of at least 32 bytes.
    pub fn new(secret: &[u8]) -> Result<Self> {
        check_secret(secret)?;
        Ok(TokenSigner(EncodingKey::from_secret(secret)))
    }

    /// A token that is valid from `now` for `ttl`, in whole seconds.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid) for a scope that is empty or has a space.
    pub fn sign(&self, new: &NewToken<'_>, ttl: Duration, now: Timestamp) -> Result<String> {
        if let Some(scope) = new.scopes.iter().find(|s| s.is_empty() || s.contains(char::is_whitespace)) {
            return Err(Error::invalid(format!("{scope:?} is no scope")));
        }
        let now = now.as_millis().div_euclid(1000);
        let exp = now.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
        let claims = Claims {
            sub: Some(new.user.as_str().to_owned()),
            exp: Some(exp.into()),
            nbf: None,
            iat: Some(now.into()),
            iss: new.issuer.map(str::to_owned),
            aud: new.audience.map(|audience| Audience::One(audience.to_owned())),
            scope: (!new.scopes.is_empty()).then(|| new.scopes.join(" ")),
            roles: (!new.roles.is_empty()).then(|| new.roles.iter().map(|&role| role.to_owned()).collect()),
        };
        let failed = |e: &dyn fmt::Display| Error::fatal(format!("a token cannot be signed: {e}"));
        let claims = serde_json::to_vec(&claims).map_err(|e| failed(&e))?;
        let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        // The provider is named, because the library refuses to choose when a program has several.
        let signer = (DEFAULT_PROVIDER.signer_factory)(&jsonwebtoken::Algorithm::HS256, &self.0);
        let signature =
            signer.map_err(|e| failed(&e))?.try_sign(message.as_bytes()).map_err(|e| failed(&e))?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSigner(…)")
    }
}
