use std::process::{Command, Stdio};

use feedkit_core::{CounterStore, ErrorKind};
use feedkit_store::redis::{Redis, RedisOptions};
use feedkit_test_services::{RedisServer, apply, free_port, needs_openssl, needs_redis_server};

use super::support::{chunk, patient};

/// A certificate authority and a certificate for `localhost`, made in `dir`.
fn certificates(dir: &std::path::Path) -> bool {
    let openssl = |arguments: &str| {
        let status = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    std::fs::write(dir.join("san"), "subjectAltName=DNS:localhost").unwrap();
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -out ca.pem -subj /CN=feedkit-test")
        && openssl("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost")
        && openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out server.pem -extfile san",
        )
}

#[apply(needs_redis_server!)]
#[apply(needs_openssl!)]
#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_servers_that_the_ca_vouches_for() {
    let dir = tempfile::tempdir().unwrap();
    assert!(certificates(dir.path()), "openssl cannot make certificates");
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let port = free_port();
    let (tls_port, certificate) = (port.to_string(), path("server.pem"));
    let (key, ca) = (path("server.key"), path("ca.pem"));
    let arguments = [
        ["--tls-port", &tls_port],
        ["--tls-cert-file", &certificate],
        ["--tls-key-file", &key],
        ["--tls-ca-cert-file", &ca],
        ["--tls-auth-clients", "no"],
    ];
    let server = RedisServer::start(&arguments.concat()).await;
    let mut options = patient(RedisOptions::single(format!("rediss://localhost:{port}/")));
    options.tls_ca = Some(std::fs::read(dir.path().join("ca.pem")).unwrap());
    let counters = Redis::connect(options.clone()).await.unwrap().counters();
    counters.apply(&chunk(0, 5, &[("a", "p", "like")])).await.unwrap();
    assert_eq!(server.ask::<i64>("GET post:p:likes").await, 1);

    options.tls_ca = None;
    let error = Redis::connect(options).await.unwrap_err();
    println!("{error}");
    assert!(matches!(error.kind(), ErrorKind::Retriable | ErrorKind::Fatal));
    assert!(error.to_string().contains("ertificate"), "{error}");
}
