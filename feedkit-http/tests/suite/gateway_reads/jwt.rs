//! Which tokens are accepted.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use feedkit_core::access::{Identity, WRITE_ANY};
use feedkit_core::testkit::conformance;
use feedkit_core::testkit::conformance::support::{at, user};
use feedkit_core::{ErrorKind, Timestamp, TokenVerifier};
use feedkit_http::jwt::{Algorithm, JwtKeys, JwtRules, JwtVerifier, NewToken, TokenSigner};
use serde_json::{Value, json};

use super::keys::{self, NOW, Pair, SECRET, claims, jwks, now, seconds};

fn all() -> [Pair; 4] {
    [keys::secret(), keys::rsa(), keys::ec(), keys::ed()]
}

fn verifier(pair: &Pair) -> JwtVerifier {
    verifier_with(pair, |_| {})
}

fn verifier_with(pair: &Pair, change: impl FnOnce(&mut JwtRules)) -> JwtVerifier {
    let mut rules = JwtRules::new(pair.algorithm);
    change(&mut rules);
    let keys = match pair.algorithm {
        Algorithm::Hs256 => JwtKeys::Secret(SECRET.to_vec()),
        _ => JwtKeys::PublicKey(pair.public_pem.as_bytes().to_vec()),
    };
    JwtVerifier::new(keys, rules).unwrap()
}

async fn refused(verifier: &JwtVerifier, token: &str, why: &str) {
    let error = verifier.verify(token, now()).await.expect_err(token);
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains(why), "{error} says nothing of {why:?}");
}

/// A token of these parts, its signature being these bytes.
fn assemble(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn each_algorithm_believes_its_own_tokens_and_no_other() {
    for pair in all() {
        let name = pair.algorithm;
        let verifier = verifier(&pair);
        let token = pair.sign(&claims(json!({"scope": "x events:write:any", "roles": ["moderator"]})));
        let who = Identity {
            user: user("a"),
            roles: vec!["moderator".to_owned()],
            scopes: vec!["x".to_owned(), WRITE_ANY.to_owned()],
            expires_at: at(NOW + 3600),
        };
        let foreign = Pair {
            algorithm: Algorithm::Hs256,
            private: jsonwebtoken::EncodingKey::from_secret(&[7; 32]),
            public_pem: "",
        };
        let mut bad = vec![foreign.sign(&claims(json!({})))];
        for other in all().iter().filter(|other| other.algorithm != name) {
            bad.push(other.sign(&claims(json!({}))));
        }
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (header, payload) = message.split_once('.').unwrap();
        let mut forged = claims(json!({"sub": "b"}));
        forged["roles"] = json!(["moderator"]);
        let forged = URL_SAFE_NO_PAD.encode(forged.to_string());
        bad.push(format!("{header}.{forged}.{signature}"));
        bad.push(format!("{message}."));
        bad.push(format!("{message}.{signature}="));
        bad.push(format!("{message}.{signature}.{signature}"));
        bad.push(format!("{header}.{payload}"));
        bad.push(format!(" {token}"));
        bad.push(format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode([0; 64])));
        bad.push("x".repeat(20_000));
        println!("{name}");
        conformance::token_verifier(&verifier, &token, &who, bad.clone()).await;
        // Again, now that the good one is remembered.
        conformance::token_verifier(&verifier, &token, &who, bad).await;

        let forgetful = verifier_with(&pair, |rules| rules.remembered = 0);
        assert_eq!(forgetful.verify(&token, now()).await.unwrap(), who);
        let set = JwtVerifier::new(JwtKeys::Jwks(jwks(&[pair.jwk(None)])), JwtRules::new(name)).unwrap();
        assert_eq!(set.verify(&token, now()).await.unwrap(), who, "{name} by its JWK");
    }
}

#[tokio::test]
async fn the_algorithm_is_not_the_tokens_choice() {
    let rsa = keys::rsa();
    let verifier = verifier(&rsa);
    // The public key as the secret of an HMAC: known to everybody.
    let confused = Pair {
        algorithm: Algorithm::Hs256,
        private: jsonwebtoken::EncodingKey::from_secret(rsa.public_pem.as_bytes()),
        public_pem: "",
    };
    refused(&verifier, &confused.sign(&claims(json!({}))), "is not signed by RS256").await;
    for alg in ["none", "None", "NONE", "", "rs256", "RS512", "PS256", "HS256"] {
        for signature in [&b""[..], b"x"] {
            let token = assemble(&json!({"alg": alg, "typ": "JWT"}), &claims(json!({})), signature);
            refused(&verifier, &token, "is not signed by RS256").await;
        }
    }
    // A good signature under another name.
    let good = rsa.sign(&claims(json!({})));
    let (_, rest) = good.split_once('.').unwrap();
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "RS384"}).to_string());
    refused(&verifier, &format!("{header}.{rest}"), "is not signed by RS256").await;
    for header in [json!({}), json!({"alg": 1}), json!([]), json!("x")] {
        refused(&verifier, &assemble(&header, &claims(json!({})), b"x"), "header").await;
    }
    let header = json!({"alg": "RS256", "crit": ["exp"]});
    refused(&verifier, &assemble(&header, &claims(json!({})), b"x"), "crit").await;
    // A key that comes along in the token is nobody's.
    let own = keys::rsa2();
    let header = jsonwebtoken::Header {
        jwk: Some(serde_json::from_value(own.jwk(None)).unwrap()),
        ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256)
    };
    let token = jsonwebtoken::encode(&header, &claims(json!({})), &own.private).unwrap();
    refused(&verifier, &token, "signature").await;
}

#[tokio::test]
async fn times_are_held_against_the_time_handed_in() {
    let pair = keys::secret();
    let (strict, lenient) = (verifier(&pair), verifier_with(&pair, |r| r.leeway = Duration::from_secs(5)));
    let expiring = |from_now| pair.sign(&claims(json!({"exp": seconds(from_now)})));
    refused(&strict, &expiring(0), "ran out").await;
    refused(&strict, &expiring(-1), "ran out").await;
    assert!(strict.verify(&expiring(1), now()).await.is_ok());
    assert!(lenient.verify(&expiring(-4), now()).await.is_ok());
    refused(&lenient, &expiring(-5), "ran out").await;

    let starting = |from_now| pair.sign(&claims(json!({"nbf": seconds(from_now)})));
    assert!(strict.verify(&starting(0), now()).await.is_ok());
    refused(&strict, &starting(1), "holds only from").await;
    assert!(lenient.verify(&starting(5), now()).await.is_ok());
    refused(&lenient, &starting(6), "holds only from").await;

    // A remembered token expires too, and is not valid before its time either.
    let token = pair.sign(&claims(json!({"nbf": seconds(-10), "exp": seconds(10)})));
    let later = |by: i64| Timestamp::from_millis(now().as_millis() + by * 1000);
    assert!(strict.verify(&token, now()).await.is_ok());
    assert!(strict.verify(&token, later(9)).await.is_ok());
    assert_eq!(strict.verify(&token, later(10)).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(strict.verify(&token, later(-11)).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(strict.verify(&token, later(0)).await.is_ok());
}

#[tokio::test]
async fn times_may_have_fractions_and_any_size() {
    let pair = keys::secret();
    let verifier = verifier(&pair);
    let expiry = async |exp: Value| {
        let token = pair.sign(&claims(json!({ "exp": exp })));
        verifier.verify(&token, now()).await.ok().map(|who| who.expires_at)
    };
    assert_eq!(
        expiry(json!(seconds(0) as f64 + 1.5)).await,
        Some(Timestamp::from_millis(now().as_millis() + 1500))
    );
    for far in [json!(i64::MAX), json!(u64::MAX), json!(1e300), json!(253_402_300_800_i64)] {
        assert_eq!(expiry(far.clone()).await, Some(Timestamp::MAX), "{far}");
    }
    for past in [json!(0), json!(-1), json!(i64::MIN), json!(-1e300)] {
        assert_eq!(expiry(past.clone()).await, None, "{past}");
    }
}

#[tokio::test]
async fn the_subject_and_the_end_are_needed() {
    let pair = keys::secret();
    let verifier = verifier(&pair);
    for (more, why) in [
        (json!({"sub": null}), "has no `sub`"),
        (json!({"exp": null}), "has no `exp`"),
        (json!({"sub": ""}), "`sub` that is empty"),
        (json!({"sub": "a b"}), "`sub` that contains"),
        (json!({"sub": "x".repeat(129)}), "`sub` that has 129 characters"),
        (json!({"sub": 7}), "payload"),
        (json!({"exp": "soon"}), "payload"),
        (json!({"exp": (seconds(60)).to_string()}), "payload"),
        (json!({"roles": "moderator"}), "payload"),
        (json!({"roles": [1]}), "payload"),
        (json!({"scope": ["a"]}), "payload"),
        (json!({"nbf": true}), "payload"),
    ] {
        refused(&verifier, &pair.sign(&claims(more)), why).await;
    }
    refused(&verifier, &pair.sign(&json!(["a"])), "payload").await;
}

#[tokio::test]
async fn audience_and_issuer_are_needed_exactly_when_configured() {
    let pair = keys::secret();
    let any = verifier(&pair);
    let strict = verifier_with(&pair, |rules| {
        rules.audience = Some("feed".to_owned());
        rules.issuer = Some("me".to_owned());
    });
    let (good, many) = (json!({"aud": "feed", "iss": "me"}), json!({"aud": ["x", "feed"], "iss": "me"}));
    for claim in [good, many] {
        let token = pair.sign(&claims(claim));
        assert!(strict.verify(&token, now()).await.is_ok());
        assert!(any.verify(&token, now()).await.is_ok());
    }
    for (claim, why) in [
        (json!({}), "iss"),
        (json!({"aud": "feed"}), "iss"),
        (json!({"iss": "me"}), "aud"),
        (json!({"aud": "Feed", "iss": "me"}), "aud"),
        (json!({"aud": ["feeds"], "iss": "me"}), "aud"),
        (json!({"aud": [], "iss": "me"}), "aud"),
        (json!({"aud": "feed", "iss": "me "}), "iss"),
    ] {
        let token = pair.sign(&claims(claim));
        refused(&strict, &token, why).await;
        assert!(any.verify(&token, now()).await.is_ok(), "who asks for nothing takes any");
    }
    refused(&strict, &pair.sign(&claims(json!({"iss": ["me"], "aud": "feed"}))), "payload").await;
}

#[test]
fn keys_that_cannot_verify_are_refused_when_they_are_loaded() {
    let small = include_bytes!("keys/rsa1024.public.pem");
    let ec384 = include_bytes!("keys/ec384.public.pem");
    let private = include_bytes!("keys/rsa.private.pem");
    let (rsa, ec, ed) = (keys::rsa(), keys::ec(), keys::ed());
    let pem = |pem: &[u8]| JwtKeys::PublicKey(pem.to_vec());
    let mut short = ed.jwk(None);
    short["x"] = "AAAA".into();
    let mut for_encryption = rsa.jwk(None);
    for_encryption["use"] = "enc".into();
    let mut other_curve = ec.jwk(None);
    other_curve["crv"] = "P-384".into();
    let weak = json!({"kty": "oct", "k": "c2hvcnQ"});
    let cases: Vec<(JwtKeys, Algorithm)> = vec![
        (JwtKeys::Secret(vec![b'x'; 31]), Algorithm::Hs256),
        (JwtKeys::Secret(vec![]), Algorithm::Hs256),
        (JwtKeys::Secret(SECRET.to_vec()), Algorithm::Rs256),
        (pem(rsa.public_pem.as_bytes()), Algorithm::Hs256),
        (pem(rsa.public_pem.as_bytes()), Algorithm::Es256),
        (pem(ec.public_pem.as_bytes()), Algorithm::EdDsa),
        (pem(ed.public_pem.as_bytes()), Algorithm::Rs256),
        (pem(small), Algorithm::Rs256),
        (pem(ec384), Algorithm::Es256),
        (pem(private), Algorithm::Rs256),
        (pem(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), Algorithm::Rs256),
        (pem(b""), Algorithm::Es256),
        (JwtKeys::Jwks(b"".to_vec()), Algorithm::Rs256),
        (JwtKeys::Jwks(b"{}".to_vec()), Algorithm::Rs256),
        (JwtKeys::Jwks(jwks(&[])), Algorithm::Rs256),
        (JwtKeys::Jwks(jwks(&[ec.jwk(None), ed.jwk(None)])), Algorithm::Rs256),
        (JwtKeys::Jwks(jwks(&[for_encryption])), Algorithm::Rs256),
        (JwtKeys::Jwks(jwks(&[other_curve])), Algorithm::Es256),
        (JwtKeys::Jwks(jwks(&[short])), Algorithm::EdDsa),
        (JwtKeys::Jwks(jwks(&[weak])), Algorithm::Hs256),
        (JwtKeys::Jwks(jwks(&[rsa.jwk(None)])), Algorithm::Hs256),
    ];
    for (i, (keys, algorithm)) in cases.into_iter().enumerate() {
        let refused = JwtVerifier::new(keys, JwtRules::new(algorithm)).err();
        let refused = refused.unwrap_or_else(|| panic!("case {i} is taken for {algorithm}"));
        assert_eq!(refused.kind(), ErrorKind::Invalid, "case {i}: {refused}");
        println!("{i}: {refused}");
    }
}

#[tokio::test]
async fn keys_of_other_kinds_in_a_set_are_passed_over() {
    let (rsa, ec) = (keys::rsa(), keys::ec());
    let odd = json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "odd"});
    let set = jwks(&[odd, json!(7), json!({"kty": "new"}), ec.jwk(Some("e")), rsa.jwk(Some("r"))]);
    let verifier = JwtVerifier::new(JwtKeys::Jwks(set), JwtRules::new(Algorithm::Rs256)).unwrap();
    for kid in [Some("r"), None] {
        assert!(verifier.verify(&rsa.sign_as(kid, &claims(json!({}))), now()).await.is_ok(), "{kid:?}");
    }
    for kid in ["e", "odd", "R", ""] {
        let token = rsa.sign_as(Some(kid), &claims(json!({})));
        refused(&verifier, &token, "`kid`").await;
    }
    refused(&verifier, &keys::rsa2().sign_as(Some("r"), &claims(json!({}))), "signature").await;
}

#[tokio::test]
async fn a_signer_signs_what_is_believed() {
    let signer = TokenSigner::new(SECRET).unwrap();
    let a = user("a");
    let (issuer, audience) = (Some("me"), Some("feed"));
    let new = NewToken {
        roles: &["moderator", "x"],
        scopes: &[WRITE_ANY, "y"],
        issuer,
        audience,
        ..NewToken::of(&a)
    };
    let token = signer.sign(&new, Duration::from_secs(60), now()).unwrap();
    let verifier = verifier_with(&keys::secret(), |rules| {
        rules.audience = Some("feed".to_owned());
        rules.issuer = Some("me".to_owned());
    });
    let who = verifier.verify(&token, now()).await.unwrap();
    assert_eq!((who.user, who.expires_at), (a.clone(), at(NOW + 60)));
    assert_eq!(
        (who.roles, who.scopes),
        (vec!["moderator".to_owned(), "x".to_owned()], vec![WRITE_ANY.to_owned(), "y".to_owned()])
    );

    // The library reads it too.
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    validation.set_audience(&["feed"]);
    validation.validate_exp = false;
    let key = jsonwebtoken::DecodingKey::from_secret(SECRET);
    let read = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap();
    assert_eq!(read.claims["iat"], json!(seconds(0)));

    for scope in ["", "a b", "a\t"] {
        let new = NewToken { scopes: &[scope], ..NewToken::of(&a) };
        assert_eq!(signer.sign(&new, Duration::from_secs(60), now()).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(TokenSigner::new(&[1; 31]).unwrap_err().kind(), ErrorKind::Invalid);
    let plain = signer.sign(&NewToken::of(&a), Duration::MAX, now()).unwrap();
    let verifier = super::jwt::verifier(&keys::secret());
    assert_eq!(verifier.verify(&plain, now()).await.unwrap().expires_at, Timestamp::MAX);
    assert_eq!(format!("{signer:?}"), "TokenSigner(…)");
}

#[tokio::test]
async fn a_verifier_shows_no_key_and_no_token() {
    let keys = JwtKeys::Secret(SECRET.to_vec());
    assert_eq!(format!("{keys:?}"), "Secret(…)");
    let pair = keys::secret();
    let token = Pair { private: jsonwebtoken::EncodingKey::from_secret(&[7; 32]), ..keys::secret() }
        .sign(&claims(json!({})));
    let error = verifier(&pair).verify(&token, now()).await.unwrap_err().to_string();
    assert!(!error.contains(&token[..20]), "{error}");
}
