//! Verifies JSON Web Tokens.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::claims::{Claims, Header, Verified, part, refused};
use super::fetched::{Fetched, KeySet};
use super::key::Key;
use super::recent::Recent;
use super::{JwtKeys, JwtRules};
use feedkit_core::access::Identity;
use feedkit_core::{Result, Timestamp, TokenVerifier};

/// Maximum length of a token in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Verifies JSON Web Tokens. See the [module](super).
///
/// # Errors
///
/// As those of [`TokenVerifier`], and [`Retriable`](feedkit_core::ErrorKind::Retriable) when the
/// keys could not be fetched, because the token may be valid.
pub struct JwtVerifier {
    keys: Keyring,
    rules: JwtRules,
    recent: Recent,
}

enum Keyring {
    Fixed(Arc<KeySet>),
    Fetched(Box<Fetched>),
}

impl JwtVerifier {
    /// A verifier with these keys and rules. The keys of a source are fetched with the first token,
    /// or by [`load`](JwtVerifier::load).
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid) for keys that the algorithm cannot use.
    pub fn new(keys: JwtKeys, rules: JwtRules) -> Result<Self> {
        let fixed = |keys| Keyring::Fixed(Arc::new(KeySet { keys, version: 0 }));
        let algorithm = rules.algorithm;
        let keys = match keys {
            JwtKeys::Secret(secret) => fixed(vec![Key::of_secret(&secret, algorithm)?]),
            JwtKeys::PublicKey(pem) => fixed(vec![Key::of_pem(&pem, algorithm)?]),
            JwtKeys::Jwks(document) => fixed(Key::of_jwks(&document, algorithm)?),
            JwtKeys::Source(source) => Keyring::Fetched(Box::new(Fetched::new(source, rules.clone()))),
        };
        Ok(JwtVerifier { keys, recent: Recent::new(rules.remembered), rules })
    }

    /// Fetches the keys, if they come from a source and are not fetched yet. Use it for a check at
    /// the start.
    pub async fn load(&self) -> Result<()> {
        self.keys().await.map(drop)
    }

    async fn keys(&self) -> Result<Arc<KeySet>> {
        match &self.keys {
            Keyring::Fixed(keys) => Ok(Arc::clone(keys)),
            Keyring::Fetched(fetched) => fetched.current().await,
        }
    }

    /// The contents of `token`, and the version of the keys that verified it.
    async fn read(&self, token: &str, mut keys: Arc<KeySet>) -> Result<(Verified, u64)> {
        let signed = Signed::of(token)?;
        let header: Header = part("header", signed.header)?;
        let algorithm = self.rules.algorithm;
        if header.alg != algorithm.as_str() {
            return Err(refused(format_args!("is not signed by {algorithm}")));
        }
        if header.crit.is_some() {
            return Err(refused("names extensions that have to be understood (`crit`)"));
        }
        let kid = header.kid.as_deref();
        if !keys.knows(kid) {
            let unknown = || refused("names a key (`kid`) that is not known");
            let Keyring::Fetched(fetched) = &self.keys else { return Err(unknown()) };
            keys = fetched.renewed().await?;
            if !keys.knows(kid) {
                return Err(fetched.failure().unwrap_or_else(unknown));
            }
        }
        let signature = URL_SAFE_NO_PAD.decode(signed.signature);
        let signature =
            signature.map_err(|e| refused(format_args!("has a signature that is not base64url: {e}")))?;
        let mut candidates = keys.keys.iter().filter(|key| key.may_be(kid));
        if !candidates.any(|key| key.verifies(signed.message.as_bytes(), &signature)) {
            return Err(refused("has a signature that is not right"));
        }
        let claims: Claims = part("payload", signed.payload)?;
        Ok((Verified::of(claims, &self.rules)?, keys.version))
    }
}

#[async_trait]
impl TokenVerifier for JwtVerifier {
    async fn verify(&self, token: &str, now: Timestamp) -> Result<Identity> {
        let keys = self.keys().await?;
        if let Some(verified) = self.recent.find(token, keys.version) {
            verified.check(now, self.rules.leeway)?;
            return Ok(verified.identity.clone());
        }
        let (verified, version) = self.read(token, keys).await?;
        verified.check(now, self.rules.leeway)?;
        let identity = verified.identity.clone();
        self.recent.keep(token, Arc::new(verified), version);
        Ok(identity)
    }
}

/// The parts of a token.
struct Signed<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    /// The signed bytes.
    message: &'a str,
}

impl<'a> Signed<'a> {
    fn of(token: &'a str) -> Result<Self> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(refused(format_args!("has {} bytes, the most is {MAX_TOKEN_BYTES}", token.len())));
        }
        let parts = token.rsplit_once('.').and_then(|(message, signature)| {
            let (header, payload) = message.split_once('.')?;
            Some(Signed { header, payload, signature, message })
        });
        parts.filter(|parts| !parts.payload.contains('.')).ok_or_else(|| refused("is no JWT"))
    }
}
