//! The HTTP answers of a processor.

use std::net::SocketAddr;
use std::time::Duration;

use feedkit_test_programs::Process;
use feedkit_test_services::DEADLINE;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Waits until a processor runs, and returns the address of its HTTP server. `None` if it ends
/// before that.
pub(crate) async fn address(process: &mut Process) -> Option<SocketAddr> {
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        let said = process.stderr();
        if let Some((_, rest)) = said.split_once("health and metrics on http://")
            && let Some((address, _)) = rest.split_once('\n')
        {
            return Some(address.trim().parse().unwrap());
        }
        if process.has_ended() {
            return None;
        }
        assert!(tokio::time::Instant::now() < end, "it does not run:\n{said}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The status and the body of `GET path`.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
    Some((status, body.to_owned()))
}

/// Whether the processor is ready, and its components.
pub(crate) async fn readiness(address: SocketAddr) -> Option<(bool, Value)> {
    let (status, body) = get(address, "/health/ready").await?;
    Some((status == 200, serde_json::from_str(&body).unwrap()))
}
