//! The state that all sockets and streams share.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::admission::Admission;
use super::board::Counts;
use super::metrics::Metrics;
use super::recovery::Recoveries;
use super::registry::{ClientId, Registry};
use super::window::Window;
use crate::tokens::Tokens;
use crate::{GatewayOptions, Parts};
use feedkit_core::Positions;
use feedkit_core::health::Component;

/// Maximum size of a recovery from the log, as a multiple of the bytes that may wait for a client.
const RECOVERED_BYTES: usize = 4;

/// Distributes notifications and counts to sockets and streams.
pub(crate) struct Hub {
    pub(super) parts: Parts,
    pub(super) options: GatewayOptions,
    registry: Mutex<Registry>,
    /// The frames that clients wait for.
    pub(super) window: Arc<Window>,
    /// Notified when the reader has moved.
    moved: Notify,
    pub(super) counts: Counts,
    pub(super) recoveries: Recoveries,
    pub(super) admission: Arc<Admission>,
    pub(super) metrics: Metrics,
    pub(super) tokens: Tokens,
    next_client: AtomicU64,
    /// The clients' tasks; `None` once the hub is closed.
    tasks: Mutex<Option<JoinSet<()>>>,
    closing: CancellationToken,
    /// Cancelled for all present clients when notifications are lost.
    generation: Mutex<CancellationToken>,
    trouble: Mutex<Trouble>,
}

/// The current errors, in words.
#[derive(Debug)]
struct Trouble {
    reader: Option<String>,
    counts: Option<String>,
}

impl Hub {
    /// A hub without clients. It hands out nothing before [`run`](super::run) drives it.
    pub(crate) fn new(parts: &Parts, options: &GatewayOptions) -> Arc<Self> {
        let live = &options.live;
        let closing = CancellationToken::new();
        let metrics = Metrics::new(&parts.metrics);
        let window = Arc::new(Window::new(live.window_bytes, metrics.window_bytes.clone()));
        Arc::new(Hub {
            registry: Mutex::new(Registry::new(live.tail, Arc::clone(&window))),
            window,
            moved: Notify::new(),
            counts: Counts::default(),
            recoveries: Recoveries::new(
                live.max_recovery,
                live.max_client_bytes.saturating_mul(RECOVERED_BYTES),
            ),
            admission: Admission::new(live.max_clients, live.max_clients_of_user),
            metrics,
            tokens: Tokens::new(parts, options.answer_timeout),
            next_client: AtomicU64::new(0),
            tasks: Mutex::new(Some(JoinSet::new())),
            generation: Mutex::new(closing.child_token()),
            closing,
            trouble: Mutex::new(Trouble { reader: Some("not read yet".to_owned()), counts: None }),
            parts: parts.clone(),
            options: options.clone(),
        })
    }

    /// Closes every client with 1012, and waits until all are gone. New clients are closed as well.
    ///
    /// If this future is dropped, the remaining clients are cut off.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        let tasks = self.tasks.lock().take();
        let Some(mut tasks) = tasks else { return };
        while let Some(ended) = tasks.join_next().await {
            note(ended);
        }
    }

    /// The condition of the fan-out. It never makes a gateway unready.
    pub(crate) fn component(&self) -> Component {
        let trouble = self.trouble.lock();
        match (&trouble.reader, &trouble.counts) {
            (None, None) => Component::up("live"),
            (Some(reader), _) => {
                Component::degraded("live", format!("notifications cannot be read: {reader}"))
            }
            (None, Some(counts)) => Component::degraded("live", format!("counts cannot be read: {counts}")),
        }
    }

    /// Spawns a client's task; `false` if the hub is closed.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        let mut tasks = self.tasks.lock();
        let Some(tasks) = tasks.as_mut() else { return false };
        while let Some(ended) = tasks.try_join_next() {
            note(ended);
        }
        tasks.spawn(task);
        true
    }

    /// Whether the hub is closing.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// The token that is cancelled when a client that connects now has to leave.
    pub(super) fn generation(&self) -> CancellationToken {
        self.generation.lock().clone()
    }

    /// Closes all present clients, because notifications were lost. Their cursors show the loss
    /// when they reconnect.
    pub(super) fn send_away(&self) {
        let next = self.closing.child_token();
        std::mem::replace(&mut *self.generation.lock(), next).cancel();
    }

    pub(super) fn new_client(&self) -> ClientId {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock()
    }

    /// Wakes the tasks that wait for the reader.
    pub(super) fn has_moved(&self) {
        self.moved.notify_waiters();
    }

    /// Waits until the reader has started.
    pub(super) async fn begun(&self) {
        self.until(|registry| registry.standing().map(|_| ())).await;
    }

    /// Waits until the reader has reached `next`; `false` if it reads another log.
    pub(super) async fn reached(&self, log: u128, next: &Positions) -> bool {
        self.until(|registry| match registry.standing()? {
            (present, _) if present != log => Some(false),
            (_, standing) => standing.covers(next).then_some(true),
        })
        .await
    }

    async fn until<T>(&self, mut reached: impl FnMut(&Registry) -> Option<T>) -> T {
        loop {
            // The wait is registered before the check, so that no move is missed.
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if let Some(found) = reached(&self.registry()) {
                return found;
            }
            moved.await;
        }
    }

    /// Sets the error of the reader; `None` when it reads.
    pub(super) fn reader_trouble(&self, trouble: Option<String>) {
        self.trouble.lock().reader = trouble;
    }

    /// Sets the error of reading counts; `None` when they are read.
    pub(super) fn counts_trouble(&self, trouble: Option<String>) {
        self.trouble.lock().counts = trouble;
    }
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a client's task failed");
    }
}
