//! Test keys, and tokens signed with them by the library itself.

use feedkit_core::Timestamp;
use feedkit_core::testkit::conformance::support::at;
use feedkit_http::jwt::Algorithm;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

pub(super) const SECRET: &[u8] = b"a secret for tests, of 32 bytes or more";

/// A key that signs, with what verifies it.
pub(super) struct Pair {
    pub(super) algorithm: Algorithm,
    pub(super) private: EncodingKey,
    pub(super) public_pem: &'static str,
}

pub(super) fn rsa() -> Pair {
    let private = EncodingKey::from_rsa_pem(include_bytes!("keys/rsa.private.pem")).unwrap();
    Pair { algorithm: Algorithm::Rs256, private, public_pem: include_str!("keys/rsa.public.pem") }
}

/// Another one.
pub(super) fn rsa2() -> Pair {
    let private = EncodingKey::from_rsa_pem(include_bytes!("keys/rsa2.private.pem")).unwrap();
    Pair { private, ..rsa() }
}

pub(super) fn ec() -> Pair {
    let private = EncodingKey::from_ec_pem(include_bytes!("keys/ec.private.pem")).unwrap();
    Pair { algorithm: Algorithm::Es256, private, public_pem: include_str!("keys/ec.public.pem") }
}

pub(super) fn ed() -> Pair {
    let private = EncodingKey::from_ed_pem(include_bytes!("keys/ed.private.pem")).unwrap();
    Pair { algorithm: Algorithm::EdDsa, private, public_pem: include_str!("keys/ed.public.pem") }
}

pub(super) fn secret() -> Pair {
    Pair { algorithm: Algorithm::Hs256, private: EncodingKey::from_secret(SECRET), public_pem: "" }
}

pub(super) fn library_algorithm(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    algorithm.as_str().parse().unwrap()
}

impl Pair {
    pub(super) fn sign(&self, claims: &Value) -> String {
        self.sign_as(None, claims)
    }

    pub(super) fn sign_as(&self, kid: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(library_algorithm(self.algorithm)) };
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }

    /// The public key as a JWK of this name.
    pub(super) fn jwk(&self, kid: Option<&str>) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, library_algorithm(self.algorithm)).unwrap();
        jwk.common.key_id = kid.map(str::to_owned);
        serde_json::to_value(jwk).unwrap()
    }
}

pub(super) fn jwks(keys: &[Value]) -> Vec<u8> {
    serde_json::to_vec(&json!({"keys": keys})).unwrap()
}

/// When these tests take place.
pub(super) const NOW: i64 = 7200;

pub(super) fn now() -> Timestamp {
    at(NOW)
}

/// Seconds since the epoch, so many after now.
pub(super) fn seconds(from_now: i64) -> i64 {
    at(NOW + from_now).as_millis() / 1000
}

/// Claims of user `a` for an hour, with `more` over them; null takes a claim away.
pub(super) fn claims(more: Value) -> Value {
    let mut claims = json!({"sub": "a", "exp": seconds(3600)});
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}
