//! Encrypted connections.

use feedkit_core::{CounterStore, ErrorKind};
use feedkit_store::redis::{Redis, RedisOptions};
use feedkit_test_services::{RedisServer, apply, certify, free_port, needs_openssl, needs_redis_server};

use super::support::{chunk, patient};

#[apply(needs_redis_server!)]
#[apply(needs_openssl!)]
#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_servers_that_the_ca_vouches_for() {
    let dir = tempfile::tempdir().unwrap();
    certify(dir.path(), "server");
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let port = free_port();
    let (tls_port, certificate) = (port.to_string(), path("server.pem"));
    let (key, ca) = (path("server.key"), path("server-ca.pem"));
    let arguments = [
        ["--tls-port", &tls_port],
        ["--tls-cert-file", &certificate],
        ["--tls-key-file", &key],
        ["--tls-ca-cert-file", &ca],
        ["--tls-auth-clients", "no"],
    ];
    let server = RedisServer::start(&arguments.concat()).await;
    let mut options = patient(RedisOptions::single(format!("rediss://localhost:{port}/")));
    options.tls_ca = Some(std::fs::read(dir.path().join("server-ca.pem")).unwrap());
    let counters = Redis::connect(options.clone()).await.unwrap().counters();
    counters.apply(&chunk(0, 5, &[("a", "p", "like")])).await.unwrap();
    assert_eq!(server.ask::<i64>("GET post:p:likes").await, 1);

    options.tls_ca = None;
    let error = Redis::connect(options).await.unwrap_err();
    println!("{error}");
    assert!(matches!(error.kind(), ErrorKind::Retriable | ErrorKind::Fatal));
    assert!(error.to_string().contains("ertificate"), "{error}");
}
