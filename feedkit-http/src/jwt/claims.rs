//! The contents of a token.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::JwtRules;
use feedkit_core::access::Identity;
use feedkit_core::{Error, Result, Timestamp, UserId};

/// The header of a token.
#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: Option<String>,
    /// Extensions that a verifier must understand. This one understands none.
    pub(super) crit: Option<serde_json::Value>,
}

/// The claims of a token that matter here.
#[derive(Deserialize, Serialize, Default)]
pub(super) struct Claims {
    pub(super) sub: Option<String>,
    pub(super) exp: Option<serde_json::Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<serde_json::Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iat: Option<serde_json::Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aud: Option<Audience>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) roles: Option<Vec<String>>,
}

/// The audience of a token.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Many(Vec<String>),
}

/// The contents of a token whose signature has been verified.
#[derive(Clone)]
pub(super) struct Verified {
    pub(super) identity: Identity,
    pub(super) not_before: Option<Timestamp>,
}

impl Verified {
    /// Checks the claims against the rules, except for the time.
    pub(super) fn of(claims: Claims, rules: &JwtRules) -> Result<Verified> {
        let sub = claims.sub.ok_or_else(|| refused("has no `sub`"))?;
        let user = UserId::new(sub).map_err(|e| refused(format!("has a `sub` that {e}")))?;
        let expires_at = time(&claims.exp.ok_or_else(|| refused("has no `exp`"))?);
        if let Some(issuer) = &rules.issuer
            && claims.iss.as_ref() != Some(issuer)
        {
            return Err(refused(format!("has another `iss` than {issuer:?}")));
        }
        if let Some(audience) = &rules.audience {
            let meant = match &claims.aud {
                Some(Audience::One(one)) => one == audience,
                Some(Audience::Many(many)) => many.contains(audience),
                None => false,
            };
            if !meant {
                return Err(refused(format!("is not meant for {audience:?}, by its `aud`")));
            }
        }
        let scopes = claims.scope.as_deref().unwrap_or_default().split_ascii_whitespace();
        let scopes = scopes.map(str::to_owned).collect();
        let identity = Identity { user, roles: claims.roles.unwrap_or_default(), scopes, expires_at };
        Ok(Verified { identity, not_before: claims.nbf.as_ref().map(time) })
    }

    /// Checks that the token is valid at `now`.
    pub(super) fn check(&self, now: Timestamp, leeway: Duration) -> Result<()> {
        let expires_at = self.identity.expires_at;
        if now >= expires_at.saturating_add(leeway) {
            return Err(refused(format!("ran out at {expires_at}")));
        }
        match self.not_before {
            Some(from) if now.saturating_add(leeway) < from => {
                Err(refused(format!("holds only from {from} on")))
            }
            _ => Ok(()),
        }
    }
}

/// The JSON in one part of a token.
pub(super) fn part<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> Result<T> {
    let json = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|e| refused(format!("has a {name} that is not base64url: {e}")))?;
    serde_json::from_slice(&json).map_err(|e| refused(format!("has a {name} that cannot be read: {e}")))
}

/// The error for a token that is refused.
pub(super) fn refused(why: impl std::fmt::Display) -> Error {
    Error::invalid(format!("the token {why}"))
}

/// Seconds since the epoch, with or without a fraction. Values beyond the calendar become its last
/// time.
fn time(seconds: &serde_json::Number) -> Timestamp {
    let millis = match seconds.as_i64() {
        Some(seconds) => seconds.saturating_mul(1000),
        // The conversion saturates.
        None => (seconds.as_f64().unwrap_or(0.0) * 1000.0) as i64,
    };
    Timestamp::from_millis(millis).clamp(Timestamp::EPOCH, Timestamp::MAX)
}
