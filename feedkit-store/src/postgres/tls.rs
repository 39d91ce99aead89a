//! Encrypted connections, with rustls and ring.

use std::sync::Arc;

use feedkit_core::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::options::{TlsMode, TlsOptions};

/// The mode for tokio-postgres, and the connector; `None` if encryption is off.
pub(super) fn connector(options: &TlsOptions) -> Result<(SslMode, Option<MakeRustlsConnect>)> {
    let mode = match options.mode {
        TlsMode::Off => return Ok((SslMode::Disable, None)),
        TlsMode::Prefer => SslMode::Prefer,
        TlsMode::Require => SslMode::Require,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::fatal(format!("cannot set up TLS: {e}")))?;
    let config = match &options.ca {
        Some(pem) => builder.with_root_certificates(roots(pem)?).with_no_client_auth(),
        None if mode == SslMode::Prefer => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
            .with_no_client_auth(),
        None => {
            let message =
                "TLS is required, but no authority to trust is given: name a file of CA certificates";
            return Err(Error::fatal(message));
        }
    };
    Ok((mode, Some(MakeRustlsConnect::new(config))))
}

fn roots(pem: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added =
            certificate.map_err(|e| e.to_string()).and_then(|c| roots.add(c).map_err(|e| e.to_string()));
        added.map_err(|e| Error::fatal(format!("cannot read the CA certificates: {e}")))?;
    }
    if roots.is_empty() {
        return Err(Error::fatal("the file of CA certificates contains no certificate"));
    }
    Ok(roots)
}

/// Accepts any certificate, for [`TlsMode::Prefer`] without trusted authorities.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
