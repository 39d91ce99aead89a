//! Drives the fan-out.

use tokio_util::sync::CancellationToken;

use super::hub::Hub;
use super::{counts, reader};

/// Follows the notifications topic and the counts until `shutdown` is cancelled. What fails is
/// tried again, with backoff.
pub(crate) async fn run(hub: &Hub, shutdown: CancellationToken) {
    tokio::join!(reader::follow(hub, &shutdown), counts::follow(hub, &shutdown));
}
