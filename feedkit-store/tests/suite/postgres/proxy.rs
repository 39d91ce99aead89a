//! Stands between a store and its server, and cuts connections in the middle of a COMMIT.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// When the connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Cut {
    Never = 0,
    /// The server never hears of the COMMIT.
    Before = 1,
    /// The server has answered, the client never hears of it.
    After = 2,
}

/// The simple query that ends a transaction, as it goes over the wire.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

pub(super) struct Proxy {
    pub(super) port: u16,
    state: Arc<State>,
    listening: JoinHandle<()>,
}

struct State {
    target: String,
    cut: AtomicU8,
    cuts: AtomicU64,
}

impl Proxy {
    pub(super) async fn to(target: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { target, cut: AtomicU8::new(0), cuts: AtomicU64::new(0) });
        let shared = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let server = TcpStream::connect(&state.target).await.unwrap();
                    // Either end may break at any time.
                    let _ = state.relay(client, server).await;
                });
            }
        });
        Proxy { port, state, listening }
    }

    /// Breaks the connection of the next COMMIT.
    pub(super) fn cut_next(&self, cut: Cut) {
        self.state.cut.store(cut as u8, Ordering::SeqCst);
    }

    /// How often one was broken.
    pub(super) fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl State {
    async fn relay(&self, mut client: TcpStream, mut server: TcpStream) -> std::io::Result<()> {
        let (mut sent, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        loop {
            tokio::select! {
                n = client.read(&mut sent) => {
                    let n = n?;
                    if n == 0 {
                        return Ok(());
                    }
                    let is_commit = sent[..n].ends_with(COMMIT);
                    let cut = if is_commit { self.cut.swap(0, Ordering::SeqCst) } else { 0 };
                    if cut == Cut::Before as u8 {
                        self.cuts.fetch_add(1, Ordering::SeqCst);
                        return Ok(());
                    }
                    server.write_all(&sent[..n]).await?;
                    if cut == Cut::After as u8 {
                        self.cuts.fetch_add(1, Ordering::SeqCst);
                        let _ = server.read(&mut answered).await?;
                        return Ok(());
                    }
                }
                n = server.read(&mut answered) => {
                    let n = n?;
                    if n == 0 {
                        return Ok(());
                    }
                    client.write_all(&answered[..n]).await?;
                }
            }
        }
    }
}
