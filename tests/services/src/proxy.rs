//! A proxy that breaks or holds connections at a chosen moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What the proxy waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Any bytes from a client.
    Anything,
    /// PostgreSQL's COMMIT.
    Commit,
    /// A Redis script that counts.
    Script,
}

/// When the connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Cut {
    /// Not at all.
    Never = 0,
    /// The server does not receive the bytes.
    Before = 1,
    /// The server answers, but the client does not receive the answer.
    After = 2,
}

/// The simple query that ends a transaction, as bytes of the protocol.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
const SCRIPT: &[u8] = b"EVALSHA\r\n";

/// A proxy between a program and a server that breaks connections at the worst moment. Its
/// connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Its port on this machine.
    pub port: u16,
    state: Arc<State>,
    listening: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    target: String,
    watch: Watch,
    cut: AtomicU8,
    cuts: AtomicU64,
    swallows: AtomicBool,
}

impl Proxy {
    /// Starts a proxy to the server at this address.
    pub async fn to(target: impl Into<String>, watch: Watch) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            target: target.into(),
            watch,
            cut: AtomicU8::new(Cut::Never as u8),
            cuts: AtomicU64::new(0),
            swallows: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                connections.spawn(async move {
                    if let Ok(server) = TcpStream::connect(&state.target).await {
                        // Both ends may break at any time.
                        let _ = state.relay(client, server).await;
                    }
                });
            }
        });
        Proxy { port, state, listening }
    }

    /// Breaks the connection at the next bytes that the proxy waits for.
    pub fn cut_next(&self, cut: Cut) {
        self.state.cut.store(cut as u8, Ordering::SeqCst);
    }

    /// How many connections it has broken.
    pub fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::SeqCst)
    }

    /// From now on, requests pass and replies do not.
    pub fn swallow_replies(&self, swallows: bool) {
        self.state.swallows.store(swallows, Ordering::SeqCst);
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
                    let cut = if self.watch.finds(&sent[..n]) { self.cut.swap(0, Ordering::SeqCst) } else { 0 };
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
                    if !self.swallows.load(Ordering::SeqCst) {
                        client.write_all(&answered[..n]).await?;
                    }
                }
            }
        }
    }
}

impl Watch {
    fn finds(self, sent: &[u8]) -> bool {
        match self {
            Watch::Anything => true,
            Watch::Commit => sent.ends_with(COMMIT),
            Watch::Script => sent.windows(SCRIPT.len()).any(|w| w == SCRIPT),
        }
    }
}
