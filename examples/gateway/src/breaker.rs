//! Refuses writes at once while Kafka is away, so that clients do not wait in vain, and notes when
//! Kafka refuses them.

use async_trait::async_trait;
use feedkit_core::sink::NewRecord;
use feedkit_core::{Error, EventSink, Position, Result};
use feedkit_kafka::refuses_all;

use crate::health::Services;

/// Sends like `sink`. While the health check reports Kafka as away, only one send at a time is
/// passed on. When Kafka acknowledges it, all sends are passed on again, even before the next
/// health check.
///
/// If Kafka refuses a record for a reason that is not its sender's, such as this machine's clock, the
/// error says that the sender may try again, and the health check reports it.
pub struct Breaker<S> {
    sink: S,
    services: Services,
}

impl<S> Breaker<S> {
    pub fn new(sink: S, services: Services) -> Self {
        Breaker { sink, services }
    }
}

#[async_trait]
impl<S: EventSink> EventSink for Breaker<S> {
    async fn send(&self, batch: Vec<NewRecord>) -> Vec<Result<Position>> {
        let breaker = self.services.log_breaker();
        let Some(_permit) = breaker.permit() else {
            let why = self.services.log_is_away().unwrap_or_else(|| "Kafka is away".to_owned());
            return batch.iter().map(|_| Err(Error::retriable(why.clone()))).collect();
        };
        let is_trial = breaker.is_open();
        let mut outcomes = self.sink.send(batch).await;
        for outcome in &mut outcomes {
            if let Err(error) = outcome
                && refuses_all(error)
            {
                let why = error.to_string();
                self.services.note_log_refuses(&why);
                *outcome = Err(Error::retriable(why));
            }
        }
        if is_trial && outcomes.iter().any(Result::is_ok) {
            self.services.note_log_answers();
        }
        outcomes
    }

    async fn flush(&self) -> Result<()> {
        self.sink.flush().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use feedkit_core::{Offset, Partition};
    use tokio::sync::Semaphore;

    use super::*;

    /// Acknowledges a send for each permit.
    struct Slow(Arc<Semaphore>);

    #[async_trait]
    impl EventSink for Slow {
        async fn send(&self, batch: Vec<NewRecord>) -> Vec<Result<Position>> {
            self.0.acquire().await.unwrap().forget();
            let offset: Offset = 1;
            batch.iter().map(|_| Ok(Position { partition: Partition(0), offset })).collect()
        }
        async fn flush(&self) -> Result<()> {
            Ok(())
        }
    }

    fn one() -> Vec<NewRecord> {
        vec![NewRecord::keyed("u", bytes::Bytes::from_static(b"{}"))]
    }

    #[tokio::test]
    async fn one_tries_while_kafka_is_away_and_its_success_lets_all_in() {
        let let_in = Arc::new(Semaphore::new(0));
        let services = Services::default();
        services.note_log_away("Kafka: no broker");
        let breaker = Arc::new(Breaker::new(Slow(let_in.clone()), services));
        let trying = tokio::spawn({
            let breaker = breaker.clone();
            async move { breaker.send(one()).await }
        });
        while breaker.services.log_breaker().permit().is_some() {
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            let refused = breaker.send(one()).await.remove(0).unwrap_err();
            assert!(refused.is_retriable() && refused.to_string().contains("no broker"), "{refused}");
        }
        let_in.add_permits(2);
        assert!(trying.await.unwrap()[0].is_ok());
        assert!(breaker.services.log_is_away().is_none());
        assert!(breaker.send(one()).await[0].is_ok());
    }

    #[tokio::test]
    async fn one_that_gives_up_makes_room_for_another() {
        let let_in = Arc::new(Semaphore::new(0));
        let services = Services::default();
        services.note_log_away("away");
        let breaker = Breaker::new(Slow(let_in.clone()), services);
        tokio::select! {
            biased;
            _ = breaker.send(one()) => panic!("nothing was let in"),
            () = tokio::task::yield_now() => {}
        }
        let_in.add_permits(1);
        assert!(breaker.send(one()).await[0].is_ok());
    }
}
