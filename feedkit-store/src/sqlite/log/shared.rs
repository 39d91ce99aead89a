//! The state that the sinks and sources of a log share.

use std::collections::BTreeMap;
use std::sync::Arc;

use feedkit_core::{Clock, Error, Positions, Result, Timestamp};

use super::group::Groups;
use super::topic::{Table, Topic, load_topics, make_topics};
use crate::sqlite::database::Database;
use crate::sqlite::schema;

/// The state that the sinks and sources of a log share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) database: Arc<Database>,
    pub(crate) incarnation: u128,
    topics: BTreeMap<String, Arc<Topic>>,
    clock: SharedClock,
    pub(crate) groups: Groups,
}

struct SharedClock(Arc<dyn Clock>);

impl std::fmt::Debug for SharedClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl Shared {
    /// Reads the topics of the log in `database`. Makes them, with `partitions` partitions each, if
    /// they do not exist.
    pub(crate) async fn open(
        database: Arc<Database>,
        partitions: u32,
        clock: Arc<dyn Clock>,
    ) -> Result<Shared> {
        if database.is_writer() {
            database.write(1, move |connection| make_topics(connection, partitions)).await?;
        }
        let (incarnation, topics) = database
            .read(|connection| Ok((schema::incarnation(connection)?, load_topics(connection)?)))
            .await?;
        let topics = topics.into_iter().map(|topic| (topic.name.clone(), Arc::new(topic))).collect();
        Ok(Shared { database, incarnation, topics, clock: SharedClock(clock), groups: Groups::default() })
    }

    /// The topic of this name.
    pub(crate) fn topic(&self, name: &str) -> Result<Arc<Topic>> {
        self.topics.get(name).cloned().ok_or_else(|| {
            let known: Vec<_> = self.topics.keys().map(String::as_str).collect();
            Error::invalid(format!("there is no topic {name:?}; the topics are {}", known.join(", ")))
        })
    }

    /// The current time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.0.now()
    }

    pub(crate) async fn ends(&self, topic: Arc<Topic>) -> Result<Positions> {
        self.database
            .read(move |connection| {
                let end = |table: &Table| Ok((table.partition, table.extent(connection, &topic)?.next));
                topic.tables.iter().map(end).collect()
            })
            .await
    }
}
