//! How far the log reaches.

use std::time::Duration;

use feedkit_core::{Offset, Position, Positions};
use feedkit_kafka::Kafka;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// After a failure the log is asked again after so long, and whoever still wants to know asks again too.
const AGAIN: Duration = Duration::from_secs(1);

/// Asks Kafka for the ends of its partitions, once for all who want to know.
pub struct Ends {
    kafka: Kafka,
    known: watch::Sender<Known>,
    wanted: Notify,
}

/// The ends as of `asked`; ends only grow.
struct Known {
    asked: Instant,
    ends: Positions,
}

impl Ends {
    pub fn new(kafka: Kafka) -> Self {
        let known = watch::Sender::new(Known { asked: Instant::now(), ends: Positions::new() });
        Ends { kafka, known, wanted: Notify::new() }
    }

    /// Asks whenever somebody wants to know; never returns.
    pub async fn look(&self) {
        loop {
            self.wanted.notified().await;
            let asked = Instant::now();
            match self.kafka.written().await {
                Ok(ends) => _ = self.known.send_replace(Known { asked, ends }),
                Err(error) => {
                    tracing::debug!(%error, "cannot tell how far the log reaches");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Returns, with the end, once the log is known to end before `position`; never if it does not, or while that
    /// cannot be told.
    pub async fn before(&self, position: Position) -> Offset {
        let mut known = self.known.subscribe();
        let end = |known: &Known| known.ends.of(position.partition);
        // What was written after a question is not in its answer.
        let arrived = Instant::now();
        loop {
            self.wanted.notify_one();
            let told = |known: &Known| end(known) >= position.offset || known.asked >= arrived;
            let told = tokio::time::timeout(AGAIN, known.wait_for(told)).await;
            let end = told.map(|known| known.map(|known| end(&known)));
            match end {
                Ok(Ok(end)) if end < position.offset => return end,
                Ok(_) => std::future::pending().await,
                Err(_) => {}
            }
        }
    }
}
