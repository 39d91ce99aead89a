//! The threads that a server runs on.

use feedkit_core::{Error, Result};
use tokio::runtime::{Builder, Runtime};

/// A runtime with one thread per core.
///
/// # Errors
///
/// [`Fatal`](feedkit_core::ErrorKind::Fatal) if the system refuses.
pub fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::fatal(format!("cannot start threads: {e}")))
}
