//! Fetches public keys from a URL.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use feedkit_core::{Error, Result};
use feedkit_http::jwt::JwksSource;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Maximum size of a key set. Real ones have a few KiB.
const MAX_BYTES: usize = 1 << 20;

/// How long opening a connection may take. The caller limits the whole fetch.
const CONNECT: Duration = Duration::from_secs(5);

/// A JSON Web Key Set that is fetched over HTTPS, or over HTTP from this machine.
pub struct UrlJwks {
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl UrlJwks {
    /// The key set at `url`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid): `url` is not a URL, or its keys could be
    /// replaced in transit.
    pub fn new(url: &str) -> Result<Self> {
        let parsed: Uri = url.parse().map_err(|e| Error::invalid(format!("jwt.jwks_url {url}: {e}")))?;
        let host = parsed.host().unwrap_or_default();
        let here = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
        match parsed.scheme_str() {
            Some("https") => {}
            Some("http") if here => {}
            _ => return Err(Error::invalid(format!("jwt.jwks_url {url}: expected https://…"))),
        }
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT));
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map_err(|e| Error::fatal(format!("TLS: {e}")).with_source(e))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(UrlJwks { url: parsed, client: Client::builder(TokioExecutor::new()).build(https) })
    }
}

#[async_trait]
impl JwksSource for UrlJwks {
    async fn fetch(&self) -> Result<Bytes> {
        let failed = |why: String| Error::retriable(format!("{}: {why}", self.url));
        let answer = self.client.get(self.url.clone()).await.map_err(|e| failed(e.to_string()))?;
        if !answer.status().is_success() {
            return Err(failed(answer.status().to_string()));
        }
        let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
        Ok(body.map_err(|e| failed(e.to_string()))?.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        assert!(UrlJwks::new("https://issuer.example/jwks.json").is_ok());
        assert!(UrlJwks::new("http://127.0.0.1:9/jwks.json").is_ok());
        for url in ["http://issuer.example/jwks.json", "issuer.example", "ftp://x/y", ""] {
            assert!(UrlJwks::new(url).is_err(), "{url}");
        }
    }
}
