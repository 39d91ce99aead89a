//! A socket that records whether bytes move.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

/// A connection's socket. Until it is dropped, it counts as a connection and holds its slot, also
/// after an upgrade to a WebSocket.
pub(super) struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
    connections: IntGauge,
    _slot: OwnedSemaphorePermit,
}

impl Watched {
    pub(super) fn new(
        stream: TcpStream,
        slot: OwnedSemaphorePermit,
        connections: IntGauge,
    ) -> (Self, Arc<Activity>) {
        connections.inc();
        let activity = Arc::<Activity>::default();
        (Watched { stream, activity: Arc::clone(&activity), connections, _slot: slot }, activity)
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(_) => {
                self.activity.writes.fetch_add(1, Ordering::Relaxed);
                self.activity.blocked.store(false, Ordering::Relaxed);
            }
            Poll::Pending => self.activity.blocked.store(true, Ordering::Relaxed),
        }
        written
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.connections.dec();
    }
}

/// The activity of a connection.
#[derive(Default)]
pub(super) struct Activity {
    /// The number of requests that have begun.
    begun: AtomicU64,
    /// The number of requests whose answers were sent or dropped.
    done: AtomicU64,
    /// The number of writes that the socket accepted.
    writes: AtomicU64,
    /// Whether the socket accepts no more bytes now.
    blocked: AtomicBool,
}

/// The activity at one moment.
pub(super) struct Look {
    begun: u64,
    done: u64,
    writes: u64,
    blocked: bool,
}

impl Activity {
    /// The activity until now.
    pub(super) fn look(&self) -> Look {
        // `done` is read first, so that no request seems done before it has begun.
        let done = self.done.load(Ordering::Acquire);
        Look {
            done,
            begun: self.begun.load(Ordering::Acquire),
            writes: self.writes.load(Ordering::Relaxed),
            blocked: self.blocked.load(Ordering::Relaxed),
        }
    }

    /// Counts a request. It is done when the returned value is dropped.
    pub(super) fn open(activity: &Arc<Activity>) -> Open {
        activity.begun.fetch_add(1, Ordering::AcqRel);
        Open(Arc::clone(activity))
    }
}

impl Look {
    /// Whether no request is open, and none has begun since `before`.
    pub(super) fn is_quiet_since(&self, before: &Look) -> bool {
        self.begun == self.done && self.begun == before.begun
    }

    /// Whether bytes wait to be written, and the client has accepted none since `before`.
    pub(super) fn is_stuck_since(&self, before: &Look) -> bool {
        self.blocked && before.blocked && self.writes == before.writes
    }
}

/// A request under way.
pub(super) struct Open(Arc<Activity>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.done.fetch_add(1, Ordering::AcqRel);
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_write_that_the_client_does_not_take_is_stuck() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let slot = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let gauge = IntGauge::new("open", "Open").unwrap();
        let (mut io, activity) = Watched::new(stream, slot, gauge.clone());
        assert_eq!(gauge.get(), 1);

        let data = [0; 4096];
        let written = async |io: &mut Watched| {
            poll_fn(|cx| Poll::Ready(Pin::new(&mut *io).poll_write(cx, &data))).await
        };
        let before = activity.look();
        let mut sent = 0;
        while let Poll::Ready(result) = written(&mut io).await {
            sent += result.unwrap();
        }
        let full = activity.look();
        assert!(!full.is_stuck_since(&before), "it wrote until just now");
        assert!(activity.look().is_stuck_since(&full));

        let mut taken = vec![0; sent];
        client.read_exact(&mut taken).await.unwrap();
        poll_fn(|cx| Pin::new(&mut io).poll_write(cx, &data)).await.unwrap();
        assert!(!activity.look().is_stuck_since(&full));
        drop(io);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn a_connection_is_quiet_without_requests() {
        let activity = Arc::<Activity>::default();
        let before = activity.look();
        assert!(activity.look().is_quiet_since(&before));
        let open = Activity::open(&activity);
        let during = activity.look();
        assert!(!activity.look().is_quiet_since(&during), "one is open");
        drop(open);
        assert!(!activity.look().is_quiet_since(&before), "one has come since");
        let after = activity.look();
        assert!(activity.look().is_quiet_since(&after));
    }
}
