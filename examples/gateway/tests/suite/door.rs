//! A proxy to a server that can be shut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Forwards connections to a server. Shutting it closes all connections and refuses new ones.
pub struct Door {
    pub address: SocketAddr,
    server: String,
    open: Option<JoinHandle<()>>,
}

impl Door {
    /// An open door to `server`.
    pub async fn to(server: &str) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut door =
            Door { address: listener.local_addr().unwrap(), server: server.to_owned(), open: None };
        door.pass(listener);
        door
    }

    pub async fn open(&mut self) {
        // Closed connections may hold the address for a moment.
        let listener = feedkit_test_programs::eventually("the address", async || {
            TcpListener::bind(self.address).await.ok()
        });
        let listener = listener.await;
        self.pass(listener);
    }

    pub async fn shut(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
            let _ = open.await;
        }
    }

    fn pass(&mut self, listener: TcpListener) {
        let server = self.server.clone();
        self.open = Some(tokio::spawn(async move {
            // Dropped with this task, which closes all connections.
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let server = server.clone();
                connections.spawn(async move {
                    let mut server = TcpStream::connect(server).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        }));
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
        }
    }
}
