//! Encrypted connections, to a server that demands them.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use feedkit_core::{ErrorKind, SystemClock};
use feedkit_store::postgres::{Postgres, PostgresOptions, TlsMode, TlsOptions};
use feedkit_test_services::{PostgresServer, apply, needs_openssl, needs_postgres_server};

use super::support::reached;

/// An authority, and a certificate by it for 127.0.0.1, as PEM files in `dir`.
fn certify(dir: &Path, name: &str) {
    let openssl = |arguments: &str| {
        let done = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
        assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {new_key} -keyout {name}-ca.key -out {name}-ca.pem -days 2 -subj /CN={name}"
    ));
    openssl(&format!("req {new_key} -keyout {name}.key -out {name}.csr -subj /CN=server"));
    std::fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost").unwrap();
    openssl(&format!(
        "x509 -req -in {name}.csr -CA {name}-ca.pem -CAkey {name}-ca.key -CAcreateserial -out {name}.pem -days 2 \
         -extfile names"
    ));
}

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
        // The certificate is by the right authority, for another name.
        ("other.example", TlsMode::Require, right),
        ("127.0.0.1", TlsMode::Require, Some("right.key")),
        ("127.0.0.1", TlsMode::Require, None),
        ("127.0.0.1", TlsMode::Off, None),
    ] {
        let error = open(host, mode, ca).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fatal, "{host} {mode:?} {ca:?}: {error}");
    }
}
