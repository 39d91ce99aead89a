//! Telling other processes about commits. This happens outside the commits, because a NOTIFY within
//! a transaction takes a lock that all other such transactions of the server wait for.

use std::future::poll_fn;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use feedkit_core::{Error, Result};
use tokio::sync::watch;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls};
use tokio_util::sync::CancellationToken;

use super::connection::config;
use super::failure::Failure;
use super::shared::Handle;

/// The channel's name.
const CHANNEL: &str = "feedkit_commits";
/// How long to wait between two notifications. They tell about all commits in between.
const COALESCE: Duration = Duration::from_millis(10);
/// How long to wait between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);

/// Tells other processes about the commits of this one, and this one about theirs, over a
/// connection of its own.
///
/// A notification is only a hint that saves waiting. While the connection is lost, readers find new
/// commits by looking once a second.
pub struct Notifier {
    store: Handle,
    others: watch::Sender<u64>,
}

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}

/// Notices that another process has committed.
#[derive(Debug, Clone)]
pub struct Commits(watch::Receiver<u64>);

impl Commits {
    /// Waits until another process has committed something since the last call. It waits for ever
    /// once the notifier was dropped.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Notifier {
    pub(super) fn new(store: &Handle) -> Self {
        Notifier { store: store.clone(), others: watch::Sender::new(0) }
    }

    /// Notices commits of other processes.
    pub fn commits(&self) -> Commits {
        Commits(self.others.subscribe())
    }

    /// Runs until `stop`. It connects again when the connection breaks.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let outcome = tokio::select! {
                () = stop.cancelled() => return,
                outcome = self.connected() => outcome,
            };
            if let Err(error) = outcome {
                tracing::warn!(%error, "the connection that tells about commits is lost; connecting again");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    async fn connected(&self) -> Result<()> {
        let (config, connector) = config(&self.store.shared.options)?;
        let broken = |error| Error::from(Failure::Sql(error));
        match connector {
            Some(connector) => {
                let (client, connection) = config.connect(connector).await.map_err(broken)?;
                self.serve(client, connection).await.map_err(broken)
            }
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(broken)?;
                self.serve(client, connection).await.map_err(broken)
            }
        }
    }

    async fn serve<S, T>(
        &self,
        client: Client,
        mut connection: Connection<S, T>,
    ) -> Result<(), tokio_postgres::Error>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        // This process also receives its own notifications. They have the number of its
        // connection's server process.
        let own = AtomicI32::new(0);
        let tell = async {
            let process = client.query_one("SELECT pg_backend_pid()", &[]).await?;
            own.store(process.get(0), Ordering::Relaxed);
            client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
            // Others may have committed before this process listened.
            self.others.send_modify(|n| *n += 1);
            loop {
                self.store.shared.committed.wait().await;
                client.batch_execute(&format!("NOTIFY {CHANNEL}")).await?;
                tokio::time::sleep(COALESCE).await;
            }
        };
        let hear = async {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(told) = message?
                    && told.process_id() != own.load(Ordering::Relaxed)
                {
                    self.others.send_modify(|n| *n += 1);
                }
            }
            Ok(())
        };
        tokio::select! {
            told = tell => told,
            heard = hear => heard,
        }
    }
}
