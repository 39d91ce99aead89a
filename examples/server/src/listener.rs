//! The address that a server listens on.

use std::net::SocketAddr;

use feedkit_core::{Error, Result};
use tokio::net::TcpListener;

/// Listens on `address`.
///
/// # Errors
///
/// [`Fatal`](feedkit_core::ErrorKind::Fatal). The text says what to do.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| {
        let why = match e.kind() {
            std::io::ErrorKind::AddrInUse => "another program listens there already".to_owned(),
            std::io::ErrorKind::PermissionDenied => "ports below 1024 need permission".to_owned(),
            std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
            _ => e.to_string(),
        };
        let hint = "--listen sets another address; with port 0 the system picks a free port";
        Error::fatal(format!("cannot listen on {address}: {why} ({hint})")).with_source(e)
    })
}
