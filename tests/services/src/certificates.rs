//! Certificates for servers of tests, made with openssl.

use std::path::Path;
use std::process::Command;

/// Makes an authority, and a certificate by it for 127.0.0.1 and localhost. The files are
/// `NAME-ca.pem`, `NAME.pem` and `NAME.key` in `dir`.
pub fn certify(dir: &Path, name: &str) {
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
