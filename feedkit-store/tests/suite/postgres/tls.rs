//! Encrypted connections to a server that requires them.

use std::path::Path;
use std::sync::Arc;

use feedkit_core::{ErrorKind, SystemClock};
use feedkit_store::postgres::{Postgres, PostgresOptions, TlsMode, TlsOptions};
use feedkit_test_services::{PostgresServer, apply, certify, needs_openssl, needs_postgres_server};

use super::support::reached;

#[apply(needs_postgres_server!)]
#[apply(needs_openssl!)]
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_encrypted_and_the_server_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    certify(dir.path(), "right");
    certify(dir.path(), "wrong");
    let prepare = |data: &Path| {
        for (from, to) in [("right.pem", "server.crt"), ("right.key", "server.key")] {
            std::fs::copy(dir.path().join(from), data.join(to)).unwrap();
        }
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(data.join("server.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust\n").unwrap();
    };
    let server = PostgresServer::start_with("-c ssl=on", prepare);
    let open = async |host: &str, mode, ca: Option<&str>| {
        let url = reached(&server.url(), |_| ()).replace("127.0.0.1", host);
        let url = format!("{url} hostaddr=127.0.0.1");
        let mut options = PostgresOptions::new(url);
        options.tls = TlsOptions { mode, ca: ca.map(|name| std::fs::read(dir.path().join(name)).unwrap()) };
        options.pool_size = 2;
        Postgres::connect(options, Arc::new(SystemClock)).await
    };
    let right = Some("right-ca.pem");
    for (mode, ca) in [(TlsMode::Require, right), (TlsMode::Prefer, right), (TlsMode::Prefer, None)] {
        let store = open("127.0.0.1", mode, ca).await.unwrap();
        store.ping().await.unwrap();
    }
    for (host, mode, ca) in [
        ("127.0.0.1", TlsMode::Require, Some("wrong-ca.pem")),
        ("127.0.0.1", TlsMode::Prefer, Some("wrong-ca.pem")),
        // The certificate is from the right authority, but for another name.
        ("other.example", TlsMode::Require, right),
        ("127.0.0.1", TlsMode::Require, Some("right.key")),
        ("127.0.0.1", TlsMode::Require, None),
        ("127.0.0.1", TlsMode::Off, None),
    ] {
        let error = open(host, mode, ca).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fatal, "{host} {mode:?} {ca:?}: {error}");
    }
}
