//! Public keys from a URL, while an issuer rotates them.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use feedkit_test_programs::told::event;
use feedkit_test_programs::{Client, claims, eventually};
use feedkit_test_services::{apply, needs_services};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::world::{Gateway, World};

const PRIVATE: &[u8] =
    include_bytes!("../../../../feedkit-http/tests/suite/gateway_reads/keys/ed.private.pem");
const PUBLIC: &str = include_str!("../../../../feedkit-http/tests/suite/gateway_reads/keys/ed.public.pem");

/// Publishes keys with these names, or answers nothing while it is down.
struct Issuer {
    names: Mutex<Option<Vec<&'static str>>>,
    asked: AtomicUsize,
}

impl Issuer {
    async fn start() -> (Arc<Issuer>, String) {
        let issuer = Arc::new(Issuer { names: Mutex::new(None), asked: AtomicUsize::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let answering = issuer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let issuer = answering.clone();
                tokio::spawn(async move {
                    let answer = service_fn(|_| std::future::ready(Ok::<_, Infallible>(issuer.answer())));
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        (issuer, url)
    }

    fn answer(&self) -> Response<Full<Bytes>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let names = self.names.lock().unwrap().clone();
        let Some(names) = names else {
            let mut down = Response::new(Full::default());
            *down.status_mut() = StatusCode::BAD_GATEWAY;
            return down;
        };
        let keys: Vec<_> = names.into_iter().map(key).collect();
        Response::new(Full::new(json!({ "keys": keys }).to_string().into()))
    }

    fn publish(&self, names: &[&'static str]) {
        *self.names.lock().unwrap() = Some(names.to_vec());
    }
}

/// The key under this name. The last 32 of a public key's 44 bytes are the key itself.
fn key(name: &str) -> Value {
    let body: String = PUBLIC.lines().filter(|line| !line.starts_with('-')).collect();
    let x = body[16..].trim_end_matches('=').replace('+', "-").replace('/', "_");
    json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": name, "x": x})
}

fn ann(gateway: &Gateway, key: &str) -> Client {
    let header = Header { kid: Some(key.to_owned()), ..Header::new(Algorithm::EdDSA) };
    let signed = EncodingKey::from_ed_pem(PRIVATE).unwrap();
    let token = jsonwebtoken::encode(&header, &claims("ann", &[], &[]), &signed).unwrap();
    Client::new(gateway.address, Some(token))
}

async fn write(client: &Client) -> u16 {
    client.post("/api/events", &event("ann", "p", "comment")).await.status.as_u16()
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_and_rotate_and_unknown_ones_do_not_hammer_the_issuer() {
    let world = World::new().await;
    let (issuer, url) = Issuer::start().await;
    let arguments = ["--jwt-algorithm", "EdDSA", "--jwt-jwks-url", &url, "--rate-limit", "0"];
    let gateway = world.gateway_with(&arguments).await;
    // While the issuer is down, no token is accepted, and readiness shows it. Once it is up, tokens
    // are accepted.
    let first = ann(&gateway, "1");
    let refused = first.post("/api/events", &event("ann", "p", "comment")).await;
    assert!([401, 503].contains(&refused.status.as_u16()), "{refused:?}");
    issuer.publish(&["1"]);
    eventually("the first key", async || (write(&first).await == 202).then_some(())).await;

    let asked = issuer.asked.load(Ordering::SeqCst);
    let unknown = ann(&gateway, "2");
    for _ in 0..50 {
        assert_eq!(write(&unknown).await, 401);
    }
    let again = issuer.asked.load(Ordering::SeqCst) - asked;
    assert!(again <= 2, "50 tokens with an unknown key asked the issuer {again} times");
    assert_eq!(write(&first).await, 202);

    // The next key is accepted when the cool-down is over.
    issuer.publish(&["1", "2"]);
    eventually("the second key", async || (write(&unknown).await == 202).then_some(())).await;
    assert_eq!(write(&first).await, 202);
    // The issuer is down again: known keys stay valid.
    *issuer.names.lock().unwrap() = None;
    assert_eq!((write(&first).await, write(&unknown).await), (202, 202));
}
