//! Stands between a program and a server, and breaks connections at the worst moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    /// PostgreSQL's COMMIT.
    Commit,
    /// A Redis script that counts.
    Script,
}

/// When the connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cut {
    /// The server never hears of it.
    Before = 1,
    /// The server has answered, the client never hears of it.
    After = 2,
}

/// The simple query that ends a transaction, as it goes over the wire.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
const SCRIPT: &[u8] = b"EVALSHA\r\n";

pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
    listening: JoinHandle<()>,
}

struct State {
    target: String,
    watch: Watch,
    cut: AtomicU8,
    cuts: AtomicU64,
}

impl Proxy {
    pub(crate) async fn to(target: String, watch: Watch) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { target, watch, cut: AtomicU8::new(0), cuts: AtomicU64::new(0) });
        let shared = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                connections.spawn(async move {
                    if let Ok(server) = TcpStream::connect(&state.target).await {
                        // Either end may break at any time.
                        let _ = state.relay(client, server).await;
                    }
                });
            }
        });
        Proxy { port, state, listening }
    }

    /// Breaks the connection of the next one watched for.
    pub(crate) fn cut_next(&self, cut: Cut) {
        self.state.cut.store(cut as u8, Ordering::SeqCst);
    }

    /// How often one was broken.
    pub(crate) fn cuts(&self) -> u64 {
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
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut sent, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        loop {
            tokio::select! {
                n = client.read(&mut sent) => {
                    let n = n?;
                    if n == 0 {
                        return Ok(());
                    }
                    let found = match self.watch {
                        Watch::Commit => sent[..n].ends_with(COMMIT),
                        Watch::Script => sent[..n].windows(SCRIPT.len()).any(|w| w == SCRIPT),
                    };
                    let cut = if found { self.cut.swap(0, Ordering::SeqCst) } else { 0 };
                    if cut == Cut::Before as u8 {
                        self.cuts.fetch_add(1, Ordering::SeqCst);
                        return Ok(());
                    }
                    server.write_all(&sent[..n]).await?;
                    if cut == Cut::After as u8 {
                        let _ = server.read(&mut answered).await?;
                        self.cuts.fetch_add(1, Ordering::SeqCst);
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
