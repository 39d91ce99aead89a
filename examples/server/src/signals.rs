//! Signals to stop.

use std::io::Write;

use feedkit_core::{Error, Result};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Listens for Ctrl-C and for the signal of a service manager. The first signal requests a graceful
/// stop. The second one ends the process at once, with exit code 1. Dropping this ends the
/// listening.
#[derive(Debug)]
pub struct Signals {
    stop: CancellationToken,
    listening: JoinHandle<()>,
}

impl Signals {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// [`Fatal`](feedkit_core::ErrorKind::Fatal) if the system refuses.
    pub fn listen() -> Result<Signals> {
        let stop = CancellationToken::new();
        let first = stop.clone();
        let mut heard = heard()?;
        let listening = tokio::spawn(async move {
            heard.next().await;
            tracing::info!("asked to stop");
            first.cancel();
            heard.next().await;
            let _ = writeln!(std::io::stderr().lock(), "second signal: the program ends at once");
            std::process::exit(1);
        });
        Ok(Signals { stop, listening })
    }

    /// Cancelled by the first signal.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[cfg(unix)]
struct Heard {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
fn heard() -> Result<Heard> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|e| Error::fatal(format!("cannot listen for signals: {e}")));
    Ok(Heard { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
}

#[cfg(unix)]
impl Heard {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Heard;

#[cfg(not(unix))]
fn heard() -> Result<Heard> {
    Ok(Heard)
}

#[cfg(not(unix))]
impl Heard {
    async fn next(&mut self) {
        let _: std::result::Result<(), _> = tokio::signal::ctrl_c().await;
    }
}
