//! The gateway, put together from the store, the settings and the tokens.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::access::ByOwnership;
use feedkit_core::supervisor::SupervisorHandle;
use feedkit_core::{Clock, Error, Result, SystemClock, TokenVerifier, UserId};
use feedkit_http::jwt::{JwtVerifier, NewToken, TokenSigner};
use feedkit_http::{Gateway, LocalCache, Parts};
use feedkit_server::gateway::{self, Algorithm, JwtSection, LocalLimits};
use feedkit_server::settings::Secret;
use feedkit_store::sqlite::USER_ACTIONS;

use super::metrics;
use super::parts::{HistoryVisibility, PartsHealth};
use crate::assembly::{Assembly, open_notifications};
use crate::config::Config;

/// A gateway on an open directory. `parts` says what the parts are doing.
pub fn assemble(
    assembly: &Assembly,
    parts: SupervisorHandle,
    config: &Config,
    tokens: Arc<dyn TokenVerifier>,
    limits: &LocalLimits,
) -> Result<Gateway> {
    let Assembly { store, pipeline, .. } = assembly;
    let history = store.history();
    let parts = Parts {
        sink: Arc::new(store.log().sink(USER_ACTIONS)?),
        counters: Some(Arc::new(history.counts())),
        queries: Arc::new(history),
        cache: Arc::new(LocalCache::default()),
        alerts: Arc::new(store.alert_log()),
        notifications: Arc::new(open_notifications(store.log().clone())),
        visibility: Arc::new(HistoryVisibility::new(store.log(), pipeline)?),
        tokens,
        authorizer: Arc::new(ByOwnership),
        limits: limits.limits(),
        health: Arc::new(PartsHealth::new(pipeline, parts)),
        clock: Arc::new(SystemClock),
        metrics: metrics::registry(pipeline)?,
    };
    let settings = gateway::settings(&config.gateway, &config.live, config.pipeline.event_policy());
    Ok(Gateway::new(parts, settings))
}

/// Verifies tokens as configured, with `secret` if the algorithm is HS256.
pub fn verifier(jwt: &JwtSection, secret: Option<&Secret>) -> Result<JwtVerifier> {
    gateway::verifier(jwt, secret, |_| {
        Err(Error::invalid("jwt.jwks_url is only for feedkit-gateway; use jwt.jwks_file here"))
    })
}

/// The identity in a token.
pub struct Bearer<'a> {
    pub user: &'a UserId,
    pub roles: &'a [String],
    pub scopes: &'a [String],
}

/// Fails if another program signs the tokens.
pub fn check_signs(jwt: &JwtSection) -> Result<()> {
    match jwt.algorithm {
        Algorithm::Hs256 => Ok(()),
        _ => Err(Error::invalid("jwt.algorithm is not HS256: the owner of the private key must sign tokens")),
    }
}

/// A token that is valid for `ttl` from now on.
pub fn sign(jwt: &JwtSection, secret: &Secret, bearer: &Bearer<'_>, ttl: Duration) -> Result<String> {
    let roles: Vec<_> = bearer.roles.iter().map(String::as_str).collect();
    let scopes: Vec<_> = bearer.scopes.iter().map(String::as_str).collect();
    let new = NewToken {
        roles: &roles,
        scopes: &scopes,
        issuer: jwt.issuer.as_deref(),
        audience: jwt.audience.as_deref(),
        ..NewToken::of(bearer.user)
    };
    TokenSigner::new(secret.bytes())?.sign(&new, ttl, SystemClock.now())
}
