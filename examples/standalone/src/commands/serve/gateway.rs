//! The engine's parts, the settings and the tokens, made into a gateway.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::access::ByOwnership;
use feedkit_core::gateway::{Gateway, Parts};
use feedkit_core::{Clock, Error, Result, SystemClock, TokenVerifier, UserId};
use feedkit_server::gateway::{self, Algorithm, JwtSection, LocalLimits};
use feedkit_server::settings::Secret;
use feedkit_store::sqlite::USER_ACTIONS;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::stand_in::{JwtKeys, JwtRules, JwtVerifier, NewToken, TokenSigner};
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
        counters: Some(Arc::new(history.counters())),
        queries: Arc::new(history),
        alerts: Arc::new(store.alert_log()),
        notifications: Arc::new(Notifications::new(store.log())),
        visibility: Arc::new(HistoryVisibility::new(store.log(), &engine.pipeline)?),
        tokens,
        authorizer: Arc::new(ByOwnership),
        limits: limits.limits(),
        health: Arc::new(EngineHealth::new(engine)),
        clock: Arc::new(SystemClock),
        metrics: prometheus::Registry::new(),
    };
    let settings = gateway::settings(&config.gateway, &config.live, config.event_policy());
    Ok(Gateway::new(parts, settings))
}

/// Serves until `shutdown`.
pub async fn run(gateway: Gateway, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
    #[allow(unused_imports, reason = "until the gateway has a method of its own")]
    use stand_in::Run as _;
    gateway.run(listener, shutdown).await
}

/// Believes tokens as configured; those of HS256 when they are signed with `secret`.
pub fn verifier(jwt: &JwtSection, secret: Option<&Secret>) -> Result<JwtVerifier> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|e| Error::invalid(format!("{}: {e}", path.display())));
    let keys = match (jwt.algorithm, secret, &jwt.public_key_file, &jwt.jwks_file) {
        (Algorithm::Hs256, Some(secret), None, None) => JwtKeys::Secret(secret.bytes().to_vec()),
        (Algorithm::Hs256, None, None, None) => {
            return Err(Error::invalid("jwt.algorithm is HS256, and there is no secret"));
        }
        (Algorithm::Hs256, ..) => {
            return Err(Error::invalid(
                "jwt.algorithm is HS256, which takes a secret and no jwt.public_key_file or jwt.jwks_file",
            ));
        }
        (_, _, Some(key), None) => JwtKeys::PublicKey(read(key)?),
        (_, _, None, Some(keys)) => JwtKeys::Jwks(read(keys)?),
        _ => {
            return Err(Error::invalid(
                "jwt.algorithm takes a public key: set either jwt.public_key_file or jwt.jwks_file",
            ));
        }
    };
    let mut rules = JwtRules::new(algorithm(jwt.algorithm));
    rules.issuer.clone_from(&jwt.issuer);
    rules.audience.clone_from(&jwt.audience);
    rules.leeway = jwt.leeway;
    JwtVerifier::new(keys, rules)
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

fn algorithm(configured: Algorithm) -> stand_in::Algorithm {
    match configured {
        Algorithm::Hs256 => stand_in::Algorithm::Hs256,
        Algorithm::Rs256 => stand_in::Algorithm::Rs256,
        Algorithm::Es256 => stand_in::Algorithm::Es256,
        Algorithm::EdDsa => stand_in::Algorithm::EdDsa,
    }
}

/// TO BE REMOVED AT THE MERGE: what `feedkit_core::gateway` does not have yet. Then the names come from
/// `feedkit_core::gateway::jwt`, and `run` is the gateway's own.
#[allow(dead_code, reason = "a stand-in")]
mod stand_in {
    use super::*;
    use async_trait::async_trait;
    use feedkit_core::Timestamp;
    use feedkit_core::access::Identity;

    pub(super) trait Run {
        async fn run(self, listener: TcpListener, shutdown: CancellationToken) -> Result<()>;
    }

    impl Run for Gateway {
        async fn run(self, _listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
            shutdown.cancelled().await;
            Ok(())
        }
    }

    pub enum Algorithm {
        Hs256,
        Rs256,
        Es256,
        EdDsa,
    }

    pub enum JwtKeys {
        Secret(Vec<u8>),
        PublicKey(Vec<u8>),
        Jwks(Vec<u8>),
    }

    pub struct JwtRules {
        pub issuer: Option<String>,
        pub audience: Option<String>,
        pub leeway: Duration,
    }

    impl JwtRules {
        pub fn new(_: Algorithm) -> Self {
            JwtRules { issuer: None, audience: None, leeway: Duration::ZERO }
        }
    }

    pub struct JwtVerifier;

    impl JwtVerifier {
        pub fn new(keys: JwtKeys, rules: JwtRules) -> Result<Self> {
            let _ = (rules.issuer, rules.audience, rules.leeway);
            let (JwtKeys::Secret(_) | JwtKeys::PublicKey(_) | JwtKeys::Jwks(_)) = keys;
            Ok(JwtVerifier)
        }
    }

    #[async_trait]
    impl TokenVerifier for JwtVerifier {
        async fn verify(&self, _: &str, _: Timestamp) -> Result<Identity> {
            Err(Error::invalid("no token is believed yet"))
        }
    }

    pub struct NewToken<'a> {
        pub user: &'a UserId,
        pub roles: &'a [&'a str],
        pub scopes: &'a [&'a str],
        pub issuer: Option<&'a str>,
        pub audience: Option<&'a str>,
    }

    impl<'a> NewToken<'a> {
        pub fn of(user: &'a UserId) -> Self {
            NewToken { user, roles: &[], scopes: &[], issuer: None, audience: None }
        }
    }

    pub struct TokenSigner;

    impl TokenSigner {
        pub fn new(_: &[u8]) -> Result<Self> {
            Ok(TokenSigner)
        }

        pub fn sign(&self, new: &NewToken<'_>, _: Duration, _: Timestamp) -> Result<String> {
            let NewToken { user, roles, scopes, issuer, audience } = new;
            let claims = (roles, scopes, issuer, audience);
            Ok(format!("stand.in.{user}{}", if claims.0.is_empty() { "" } else { ".roles" }))
        }
    }
}
