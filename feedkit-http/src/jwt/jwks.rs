//! JSON Web Key Sets and where they come from.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;

use feedkit_core::{Error, Result};

/// A source of a JWKS document.
///
/// # Contract
///
/// [`fetch`](JwksSource::fetch) returns the current document. It limits the size of what it reads,
/// is not called concurrently, and may be dropped at any time.
///
/// # Errors
///
/// Errors may be of any kind. The keys of an earlier fetch stay in use.
#[async_trait]
pub trait JwksSource: Send + Sync + 'static {
    /// Fetches the document.
    async fn fetch(&self) -> Result<Bytes>;
}

/// A JWKS document in a file, which may be replaced while it is in use.
#[derive(Debug, Clone)]
pub struct FileJwks(PathBuf);

impl FileJwks {
    /// The document in this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        FileJwks(path.into())
    }
}

/// Maximum size of a document in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

#[async_trait]
impl JwksSource for FileJwks {
    async fn fetch(&self) -> Result<Bytes> {
        use std::io::Read;
        let path = self.0.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(bytes)
        });
        let path = self.0.display();
        let failed =
            |e: std::io::Error| Error::retriable(format!("{path} cannot be read: {e}")).with_source(e);
        let bytes = read.await.map_err(|e| failed(e.into()))?.map_err(failed)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::invalid(format!("{path} is larger than a MiB")));
        }
        Ok(bytes.into())
    }
}
