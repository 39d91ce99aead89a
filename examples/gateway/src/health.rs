//! Checks which services answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use feedkit_core::Result;
use feedkit_core::health::{Component, Health};
use feedkit_http::CircuitBreaker;
use feedkit_kafka::KafkaSink;
use feedkit_store::postgres::Postgres;
use feedkit_store::redis::Redis;
use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

/// How often the services are checked.
const EVERY: Duration = Duration::from_secs(2);

/// How long a service may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the last refusal of a write counts. After that a write has to show whether Kafka still
/// refuses them.
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// The result of the last check. Writes need only Kafka: without it a gateway is not ready. Without
/// the other services it is degraded.
#[derive(Clone, Default)]
pub struct Services {
    seen: Arc<Mutex<Seen>>,
    /// Why Kafka refused a write, and when it last did. Kafka answers checks meanwhile.
    refusal: Arc<Mutex<Option<(String, Instant)>>>,
    /// Open while Kafka is seen to be away.
    log: Arc<CircuitBreaker>,
}

/// Why each service does not answer, if it does not.
#[derive(Default)]
struct Seen {
    looked: bool,
    log: Option<String>,
    history: Option<String>,
    counters: Option<String>,
}

impl Services {
    /// Checks the services until `stop`.
    pub async fn watch(
        &self,
        kafka: &KafkaSink,
        postgres: &Postgres,
        redis: &Redis,
        stop: CancellationToken,
    ) {
        loop {
            let look = async {
                tokio::join!(
                    answers("Kafka", async { kafka.partitions().await.map(drop) }),
                    answers("PostgreSQL", postgres.ping()),
                    answers("Redis", redis.check()),
                )
            };
            let (log, history, counters) = tokio::select! {
                () = stop.cancelled() => return,
                looked = look => looked,
            };
            self.note(Seen { looked: true, log, history, counters });
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }
}

impl Services {
    /// Why Kafka does not answer, if the last check failed.
    pub fn log_is_away(&self) -> Option<String> {
        self.seen().log.clone()
    }

    /// Decides which writes may try.
    pub fn log_breaker(&self) -> &CircuitBreaker {
        &self.log
    }

    /// Notes that Kafka has acknowledged a write since the last check.
    pub fn note_log_answers(&self) {
        let mut seen = self.seen();
        if seen.log.take().is_some() {
            tracing::info!("Kafka is back");
        }
        self.log.close();
    }

    /// Notes that Kafka refuses writes for a reason that is not their sender's.
    pub fn note_log_refuses(&self, why: &str) {
        let now = Instant::now();
        let before = self.refusal.lock().replace((why.to_owned(), now));
        if before.is_none_or(|(_, at)| now.duration_since(at) >= REFUSED_FOR) {
            tracing::error!("Kafka refuses writes: {why}");
        }
    }

    /// Why Kafka has refused a write lately.
    fn refusal(&self) -> Option<String> {
        let refusal = self.refusal.lock();
        let (why, at) = refusal.as_ref()?;
        (at.elapsed() < REFUSED_FOR).then(|| format!("Kafka refuses writes: {why}"))
    }

    #[cfg(test)]
    pub fn note_log_away(&self, why: &str) {
        let mut seen = self.seen();
        seen.log = Some(why.to_owned());
        self.log.open(Duration::ZERO);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock()
    }

    /// Stores the result of a check and logs what has changed.
    fn note(&self, now: Seen) {
        let mut seen = self.seen();
        for (name, before, now) in [
            ("Kafka", &seen.log, &now.log),
            ("PostgreSQL", &seen.history, &now.history),
            ("Redis", &seen.counters, &now.counters),
        ] {
            match (before, now) {
                (None, Some(why)) => tracing::warn!("{name} is away: {why}"),
                (Some(_), None) => tracing::info!("{name} is back"),
                _ => {}
            }
        }
        match now.log {
            Some(_) => self.log.open(Duration::ZERO),
            None => _ = self.log.close(),
        }
        *seen = now;
    }
}

/// Why a service does not answer, if it does not. The text may contain addresses. It appears in the
/// log and in `/health/ready`.
async fn answers(name: &str, asking: impl Future<Output = Result<()>>) -> Option<String> {
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("{name}: {error}")),
        Err(_) => Some(format!("{name} did not answer within {PATIENCE:?}")),
    }
}

impl Health for Services {
    fn components(&self) -> Vec<Component> {
        let seen = self.seen();
        let log = match (&seen.log, seen.looked, self.refusal()) {
            (Some(why), ..) => Component::down("log", why),
            (None, false, _) => Component::down("log", "Kafka has not been reached yet"),
            (None, true, Some(why)) => Component::down("log", why),
            (None, true, None) => Component::up("log"),
        };
        let or_degraded = |name: &str, why: &Option<String>| match why {
            Some(why) => Component::degraded(name, why),
            None => Component::up(name),
        };
        vec![log, or_degraded("history", &seen.history), or_degraded("counters", &seen.counters)]
    }
}
