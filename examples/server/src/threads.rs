//! The threads that a server runs on.

use feedkit_core::{Error, Result};
use tokio::runtime::{Builder, Runtime};

/// As many threads as there are cores.
///
/// # Errors
///
/// [`Fatal`](feedkit_core::ErrorKind::Fatal) when the system does not give them.
pub fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::fatal(format!("cannot start threads: {e}")))
}
