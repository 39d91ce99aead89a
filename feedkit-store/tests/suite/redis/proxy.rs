//! A proxy that loses replies.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use feedkit_store::redis::RedisSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::support::{Server, patient};

/// What becomes of the bytes from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replies {
    Pass,
    /// The next reply is dropped, and its connection closed.
    Cut,
    /// No reply comes through, but commands do.
    Swallow,
}

/// Stands between a client and a server.
pub struct Proxy {
    pub port: u16,
    replies: Arc<std::sync::Mutex<Replies>>,
    pub cut: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn before(server: &Server) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target: SocketAddr = (Ipv4Addr::LOCALHOST, server.port).into();
        let replies = Arc::new(std::sync::Mutex::new(Replies::Pass));
        let cut = Arc::new(AtomicU64::new(0));
        let (mode, count) = (replies.clone(), cut.clone());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(target).await else { continue };
                connections.spawn(carry(client, server, mode.clone(), count.clone()));
            }
        });
        Proxy { port, replies, cut, task }
    }

    pub fn replies(&self, replies: Replies) {
        *self.replies.lock().unwrap() = replies;
    }

    pub fn settings(&self) -> RedisSettings {
        patient(RedisSettings::single(format!("redis://127.0.0.1:{}/", self.port)))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    client: TcpStream,
    server: TcpStream,
    mode: Arc<std::sync::Mutex<Replies>>,
    cut: Arc<AtomicU64>,
) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let commands = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let answers = async {
        let mut buffer = vec![0; 65_536];
        loop {
            let read = from_server.read(&mut buffer).await?;
            let now = {
                let mut mode = mode.lock().unwrap();
                let now = *mode;
                if now == Replies::Cut {
                    *mode = Replies::Pass;
                }
                now
            };
            match now {
                _ if read == 0 => return Ok(()),
                Replies::Pass => to_client.write_all(&buffer[..read]).await?,
                Replies::Swallow => {}
                Replies::Cut => {
                    cut.fetch_add(1, Ordering::SeqCst);
                    return Ok::<_, std::io::Error>(());
                }
            }
        }
    };
    tokio::select! {
        _ = commands => {}
        _ = answers => {}
    }
}
