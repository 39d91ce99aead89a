//! The engine's parts, the settings and the tokens, made into a gateway.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::access::ByOwnership;
use feedkit_core::{Clock, Error, Result, SystemClock, TokenVerifier, UserId};
use feedkit_http::jwt::{JwtVerifier, NewToken, TokenSigner};
use feedkit_http::{Gateway, LocalCache, Parts};
use feedkit_server::gateway::{self, Algorithm, JwtSection, LocalLimits};
use feedkit_server::settings::Secret;
use feedkit_store::sqlite::USER_ACTIONS;

use super::metrics;
use super::parts::{EngineHealth, HistoryVisibility, Notifications};
use crate::config::Config;
use crate::engine::Engine;

/// A gateway on the engine.
pub fn assemble(
    engine: &Engine,
    config: &Config,
    tokens: Arc<dyn TokenVerifier>,
    limits: &LocalLimits,
) -> Result<Gateway> {
    let (store, history) = (&engine.store, engine.store.history());
    let parts = Parts {
        sink: Arc::new(store.log().sink(USER_ACTIONS)?),
        counters: Some(Arc::new(history.counts())),
        queries: Arc::new(history),
        cache: Arc::new(LocalCache::default()),
        alerts: Arc::new(store.alert_log()),
        notifications: Arc::new(Notifications::new(store.log())),
        visibility: Arc::new(HistoryVisibility::new(store.log(), &engine.pipeline)?),
        tokens,
        authorizer: Arc::new(ByOwnership),
        limits: limits.limits(),
        health: Arc::new(EngineHealth::new(engine)),
        clock: Arc::new(SystemClock),
        metrics: metrics::registry(&engine.pipeline)?,
    };
    let settings = gateway::settings(&config.gateway, &config.live, config.pipeline.event_policy());
    Ok(Gateway::new(parts, settings))
}

/// Believes tokens as configured; those of HS256 when they are signed with `secret`.
pub fn verifier(jwt: &JwtSection, secret: Option<&Secret>) -> Result<JwtVerifier> {
    gateway::verifier(jwt, secret, |_| {
        Err(Error::invalid("jwt.jwks_url is for feedkit-gateway; here keys come from jwt.jwks_file"))
    })
}

/// Who bears a token.
pub struct Bearer<'a> {
    pub user: &'a UserId,
    pub roles: &'a [String],
    pub scopes: &'a [String],
}

/// Fails where tokens are signed by somebody else.
pub fn check_signs(jwt: &JwtSection) -> Result<()> {
    match jwt.algorithm {
        Algorithm::Hs256 => Ok(()),
        _ => Err(Error::invalid(
            "jwt.algorithm is not HS256: tokens are signed by whoever has the private key, not here",
        )),
    }
}

/// A token that is valid from now on for `ttl`.
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
