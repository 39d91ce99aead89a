//! The ends of the log's partitions.

use std::time::Duration;

use feedkit_core::{Offset, Position, Positions};
use feedkit_kafka::Kafka;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How long to wait after a failure before the log is queried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Queries Kafka for the ends of its partitions. Concurrent callers share one query.
pub struct Ends {
    kafka: Kafka,
    known: watch::Sender<Known>,
    wanted: Notify,
}

/// The ends at the time `asked`. Ends only grow.
struct Known {
    asked: Instant,
    ends: Positions,
}

impl Ends {
    pub fn new(kafka: Kafka) -> Self {
        let known = watch::Sender::new(Known { asked: Instant::now(), ends: Positions::new() });
        Ends { kafka, known, wanted: Notify::new() }
    }

    /// Queries Kafka whenever a caller needs the ends. Never returns.
    pub async fn look(&self) {
        loop {
            self.wanted.notified().await;
            let asked = Instant::now();
            match self.kafka.written().await {
                Ok(ends) => _ = self.known.send_replace(Known { asked, ends }),
                Err(error) => {
                    tracing::debug!(%error, "could not query the ends of the log");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Waits until the log is known to end before `position`, and returns the end. If the log
    /// reaches `position`, or if Kafka does not answer, it never returns.
    pub async fn before(&self, position: Position) -> Offset {
        let mut known = self.known.subscribe();
        let end = |known: &Known| known.ends.of(position.partition);
        // Only a query that starts after this call shows all records written before it.
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
