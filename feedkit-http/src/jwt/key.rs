//! Keys. They are checked when they are loaded, so that a useless key is an error at once, and not
//! with the first token.

use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{AlgorithmFamily, DecodingKey, DecodingKeyKind};

use super::Algorithm;
use feedkit_core::{Error, Result};

/// Minimum size of a shared secret in bytes: the size of an HS256 hash (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// A key that verifies tokens.
pub(super) struct Key {
    /// The key's name. A key without a name may have signed any token.
    kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Key {
    pub(super) fn of_secret(secret: &[u8], algorithm: Algorithm) -> Result<Key> {
        if algorithm != Algorithm::Hs256 {
            return Err(Error::invalid(format!("a shared secret is for HS256, not for {algorithm}")));
        }
        check_secret(secret)?;
        Key::checked(None, algorithm, DecodingKey::from_secret(secret))
    }

    pub(super) fn of_pem(pem: &[u8], algorithm: Algorithm) -> Result<Key> {
        let text = String::from_utf8_lossy(pem);
        if !text.contains("PUBLIC KEY-----") {
            return Err(Error::invalid("the PEM text holds no public key"));
        }
        let key = match algorithm {
            Algorithm::Hs256 => return Err(Error::invalid("HS256 takes a shared secret, not a public key")),
            Algorithm::Rs256 => DecodingKey::from_rsa_pem(pem),
            Algorithm::Es256 => DecodingKey::from_ec_pem(pem),
            Algorithm::EdDsa => DecodingKey::from_ed_pem(pem),
        };
        Key::checked(None, algorithm, key.map_err(|e| unusable(algorithm, e))?)
    }

    /// The keys of a JWKS document for `algorithm`. Other keys are ignored.
    pub(super) fn of_jwks(document: &[u8], algorithm: Algorithm) -> Result<Vec<Key>> {
        #[derive(serde::Deserialize)]
        struct Document {
            keys: Vec<serde_json::Value>,
        }
        let document: Document = serde_json::from_slice(document)
            .map_err(|e| Error::invalid(format!("the keys are no JWKS document: {e}")))?;
        let count = document.keys.len();
        let mut keys = Vec::new();
        for (i, value) in document.keys.into_iter().enumerate() {
            match Key::of_jwk(value, algorithm) {
                Ok(key) => keys.push(key),
                Err(error) => tracing::debug!(%error, "key {i} of the JWKS document is passed over"),
            }
        }
        if keys.is_empty() {
            return Err(Error::invalid(format!(
                "none of the {count} keys of the JWKS document is for {algorithm}"
            )));
        }
        Ok(keys)
    }

    fn of_jwk(value: serde_json::Value, algorithm: Algorithm) -> Result<Key> {
        let jwk: Jwk = serde_json::from_value(value).map_err(|e| unusable(algorithm, e))?;
        let named = jwk.common.key_algorithm;
        let other_algorithm = named.is_some_and(|named| named != algorithm.of_library().into());
        let other_use = jwk.common.public_key_use.as_ref().is_some_and(|u| *u != PublicKeyUse::Signature);
        let other_curve = match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(params) => params.curve != EllipticCurve::P256,
            AlgorithmParameters::OctetKeyPair(params) => params.curve != EllipticCurve::Ed25519,
            _ => false,
        };
        if other_algorithm || other_use || other_curve {
            return Err(Error::invalid("is for something else"));
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|e| unusable(algorithm, e))?;
        if key.family() != algorithm.of_library().family() {
            return Err(Error::invalid("is of another kind"));
        }
        Key::checked(jwk.common.key_id, algorithm, key)
    }

    fn checked(kid: Option<String>, algorithm: Algorithm, key: DecodingKey) -> Result<Key> {
        match key.family() {
            AlgorithmFamily::Hmac => {
                check_secret(key.try_get_as_bytes().map_err(|e| unusable(algorithm, e))?)?
            }
            AlgorithmFamily::Rsa => check_rsa(&key)?,
            // The library panics when there are fewer bytes than it needs.
            AlgorithmFamily::Ed if key.try_get_as_bytes().map_or(0, <[u8]>::len) != 32 => {
                return Err(Error::invalid("the key is no Ed25519 key: it has not 32 bytes"));
            }
            _ => {}
        }
        (DEFAULT_PROVIDER.verifier_factory)(&algorithm.of_library(), &key)
            .map_err(|e| unusable(algorithm, e))?;
        Ok(Key { kid, algorithm, key })
    }

    /// Whether this key may have signed a token that names `kid`.
    pub(super) fn may_be(&self, kid: Option<&str>) -> bool {
        match (self.kid.as_deref(), kid) {
            (Some(own), Some(named)) => own == named,
            _ => true,
        }
    }

    /// Whether this key signed `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &Vec<u8>) -> bool {
        // The provider is named, because the library refuses to choose when a program has several.
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm.of_library(), &self.key);
        verifier.is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }
}

pub(super) fn check_secret(secret: &[u8]) -> Result<()> {
    if secret.len() < MIN_SECRET_BYTES {
        let len = secret.len();
        return Err(Error::invalid(format!("the secret has {len} bytes, the least is {MIN_SECRET_BYTES}")));
    }
    Ok(())
}

/// Checks an RSA key, because the library checks it only when it verifies.
fn check_rsa(key: &DecodingKey) -> Result<()> {
    let modulus = match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, .. } => n.clone(),
        DecodingKeyKind::SecretOrDer(der) => {
            let parts = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der);
            parts.map_err(|e| unusable(Algorithm::Rs256, e))?.0
        }
    };
    let bytes = modulus.iter().skip_while(|b| **b == 0).count();
    if !(256..=512).contains(&bytes) {
        let bits = bytes * 8;
        return Err(Error::invalid(format!("the RSA key has {bits} bits, usable are 2048 to 4096")));
    }
    Ok(())
}

fn unusable(algorithm: Algorithm, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid(format!("the key cannot be used for {algorithm}: {error}")).with_source(error)
}
