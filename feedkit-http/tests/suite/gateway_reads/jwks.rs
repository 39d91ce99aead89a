//! Keys that are fetched and that rotate.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use feedkit_core::{Error, ErrorKind, Result, TokenVerifier};
use feedkit_http::jwt::{Algorithm, FileJwks, JwksSource, JwtKeys, JwtRules, JwtVerifier};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::advance;

use super::keys::{self, Pair, claims, jwks, now};

/// A document that a test changes; `None`: it cannot be had.
struct Changing {
    document: Mutex<Option<Vec<u8>>>,
    fetched: AtomicUsize,
    gate: Semaphore,
}

#[async_trait]
impl JwksSource for Changing {
    async fn fetch(&self) -> Result<Bytes> {
        self.fetched.fetch_add(1, Relaxed);
        let _permit = self.gate.acquire().await.unwrap();
        let document = self.document.lock().unwrap().clone();
        document.map(Bytes::from).ok_or_else(|| Error::retriable("the issuer is away"))
    }
}

struct World {
    source: Arc<Changing>,
    verifier: Arc<JwtVerifier>,
    old: Pair,
    new: Pair,
}

const COOLDOWN: Duration = Duration::from_secs(30);
const MAX_AGE: Duration = Duration::from_secs(600);

impl World {
    /// A verifier whose source holds `old`, under the name `1`.
    fn new() -> World {
        let (old, new) = (keys::rsa(), keys::rsa2());
        let document = Mutex::new(Some(jwks(&[old.jwk(Some("1"))])));
        let source = Arc::new(Changing { document, fetched: AtomicUsize::new(0), gate: Semaphore::new(1) });
        let rules = JwtRules::new(Algorithm::Rs256);
        assert_eq!((rules.fetch_cooldown, rules.max_key_age), (COOLDOWN, MAX_AGE));
        let verifier = JwtVerifier::new(JwtKeys::Source(source.clone()), rules).unwrap();
        World { source, verifier: Arc::new(verifier), old, new }
    }

    fn publish(&self, keys: Option<&[Value]>) {
        *self.source.document.lock().unwrap() = keys.map(jwks);
    }

    fn fetched(&self) -> usize {
        self.source.fetched.load(Relaxed)
    }

    fn old_token(&self) -> String {
        self.old.sign_as(Some("1"), &claims(json!({})))
    }

    fn new_token(&self) -> String {
        self.new.sign_as(Some("2"), &claims(json!({})))
    }

    async fn kind(&self, token: &str) -> Option<ErrorKind> {
        self.verifier.verify(token, now()).await.err().map(|e| e.kind())
    }
}

const GARBAGE: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.AAAA";

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_with_the_first_token_once() {
    let world = World::new();
    assert_eq!(world.fetched(), 0);
    for _ in 0..3 {
        assert_eq!(world.kind(&world.old_token()).await, None);
    }
    assert_eq!(world.fetched(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_new_key_is_believed_at_once() {
    let world = World::new();
    assert_eq!(world.kind(&world.old_token()).await, None);
    advance(COOLDOWN).await;
    world.publish(Some(&[world.old.jwk(Some("1")), world.new.jwk(Some("2"))]));
    assert_eq!(world.kind(&world.new_token()).await, None);
    assert_eq!(world.kind(&world.old_token()).await, None);
    assert_eq!(world.fetched(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_taken_away_is_believed_no_more() {
    let world = World::new();
    assert_eq!(world.kind(&world.old_token()).await, None);
    world.publish(Some(&[world.new.jwk(Some("2"))]));
    assert_eq!(world.kind(&world.old_token()).await, None, "nobody knows yet");
    advance(MAX_AGE).await;
    assert_eq!(world.kind(&world.old_token()).await, Some(ErrorKind::Invalid), "also when remembered");
    assert_eq!(world.kind(&world.new_token()).await, None);
}

#[tokio::test(start_paused = true)]
async fn garbage_does_not_hammer_the_source() {
    let world = World::new();
    for _ in 0..100 {
        assert_eq!(world.kind(GARBAGE).await, Some(ErrorKind::Invalid));
    }
    assert_eq!(world.fetched(), 1, "the first fetch counts");
    advance(COOLDOWN).await;
    for _ in 0..100 {
        assert_eq!(world.kind(GARBAGE).await, Some(ErrorKind::Invalid));
    }
    assert_eq!(world.fetched(), 2);
    world.publish(Some(&[world.new.jwk(Some("2"))]));
    assert_eq!(
        world.kind(&world.new_token()).await,
        Some(ErrorKind::Invalid),
        "not before it has cooled down"
    );
    advance(COOLDOWN).await;
    assert_eq!(world.kind(&world.new_token()).await, None);
}

#[tokio::test(start_paused = true)]
async fn many_who_name_a_new_key_lead_to_one_fetch() {
    let world = World::new();
    assert_eq!(world.kind(&world.old_token()).await, None);
    advance(COOLDOWN).await;
    world.publish(Some(&[world.new.jwk(Some("2"))]));
    let closed = world.source.gate.acquire().await.unwrap();
    let token = world.new_token();
    let askers: Vec<_> = (0..50)
        .map(|_| {
            let (verifier, token) = (world.verifier.clone(), token.clone());
            tokio::spawn(async move { verifier.verify(&token, now()).await.map(drop) })
        })
        .collect();
    while world.fetched() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.kind(&world.old_token()).await, None, "known keys do not wait");
    drop(closed);
    for asker in askers {
        asker.await.unwrap().unwrap();
    }
    assert_eq!(world.fetched(), 2);
}

#[tokio::test(start_paused = true)]
async fn keys_stay_when_they_cannot_be_fetched_again() {
    let world = World::new();
    assert_eq!(world.kind(&world.old_token()).await, None);
    for document in [None, Some(&[][..])] {
        world.publish(document);
        advance(MAX_AGE).await;
        let another = world.old.sign_as(Some("1"), &claims(json!({"sub": "b"})));
        assert_eq!(world.kind(&another).await, None, "{document:?}");
        advance(COOLDOWN).await;
        assert_eq!(world.kind(&world.new_token()).await, Some(ErrorKind::Retriable), "it may be a good one");
    }
    assert!(world.fetched() > 3);
    world.publish(Some(&[world.new.jwk(Some("2"))]));
    advance(COOLDOWN).await;
    assert_eq!(world.kind(&world.new_token()).await, None);
}

#[tokio::test(start_paused = true)]
async fn without_any_keys_nothing_can_be_told() {
    let world = World::new();
    world.publish(None);
    assert_eq!(world.kind(&world.old_token()).await, Some(ErrorKind::Retriable));
    assert_eq!(world.verifier.load().await.unwrap_err().kind(), ErrorKind::Retriable);
    assert_eq!(world.fetched(), 1, "it cools down, but not for long");
    advance(Duration::from_secs(1)).await;
    world.publish(Some(&[world.old.jwk(Some("1"))]));
    assert_eq!(world.kind(&world.old_token()).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_given_up() {
    let world = World::new();
    let closed = world.source.gate.acquire().await.unwrap();
    assert_eq!(world.kind(&world.old_token()).await, Some(ErrorKind::Retriable));
    drop(closed);
    advance(Duration::from_secs(1)).await;
    assert_eq!(world.kind(&world.old_token()).await, None);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_fetching_leaves_the_turn() {
    let world = World::new();
    let closed = world.source.gate.acquire().await.unwrap();
    let (verifier, token) = (world.verifier.clone(), world.old_token());
    let asker = tokio::spawn(async move { verifier.verify(&token, now()).await.map(drop) });
    while world.fetched() == 0 {
        tokio::task::yield_now().await;
    }
    asker.abort();
    assert!(asker.await.unwrap_err().is_cancelled());
    drop(closed);
    advance(Duration::from_secs(1)).await;
    assert_eq!(world.kind(&world.old_token()).await, None);
}

#[tokio::test]
async fn a_file_may_change_while_it_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let (old, new) = (keys::ec(), keys::ed());
    std::fs::write(&path, jwks(&[old.jwk(Some("1"))])).unwrap();
    let mut rules = JwtRules::new(Algorithm::Es256);
    rules.fetch_cooldown = Duration::ZERO;
    let verifier = JwtVerifier::new(JwtKeys::Source(Arc::new(FileJwks::new(&path))), rules).unwrap();
    verifier.load().await.unwrap();
    let token = |kid| old.sign_as(Some(kid), &claims(json!({})));
    assert!(verifier.verify(&token("1"), now()).await.is_ok());
    assert_eq!(verifier.verify(&token("2"), now()).await.unwrap_err().kind(), ErrorKind::Invalid);
    std::fs::write(&path, jwks(&[new.jwk(Some("1")), old.jwk(Some("2"))])).unwrap();
    assert!(verifier.verify(&token("2"), now()).await.is_ok());
    assert_eq!(verifier.verify(&token("1"), now()).await.unwrap_err().kind(), ErrorKind::Invalid);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(verifier.verify(&token("3"), now()).await.unwrap_err().kind(), ErrorKind::Retriable);
    assert!(verifier.verify(&token("2"), now()).await.is_ok(), "what is known stays");

    let missing = FileJwks::new(folder.path().join("none"));
    assert!(missing.fetch().await.unwrap_err().to_string().contains("none"));
    std::fs::write(&path, vec![b' '; 2 << 20]).unwrap();
    assert!(FileJwks::new(&path).fetch().await.unwrap_err().to_string().contains("larger"));
}
