//! What the gateway asks of the other parts.

use async_trait::async_trait;
use feedkit_core::health::{Component, Health};
use feedkit_core::pipeline::{PartitionState, PipelineHandle, PipelineStatus};
use feedkit_core::supervisor::{PartState, SupervisorHandle};
use feedkit_core::{Error, Position, Result};
use feedkit_http::Visibility;
use feedkit_store::sqlite::{SqliteLog, USER_ACTIONS};

use crate::assembly::RELAY;

/// A write is visible when the history has it, because the counters are the history's own totals.
pub struct HistoryVisibility {
    log: SqliteLog,
    pipeline: PipelineHandle,
    partitions: u32,
}

impl HistoryVisibility {
    pub fn new(log: &SqliteLog, pipeline: &PipelineHandle) -> Result<Self> {
        let partitions = log.partitions(USER_ACTIONS)?;
        Ok(HistoryVisibility { log: log.clone(), pipeline: pipeline.clone(), partitions })
    }
}

#[async_trait]
impl Visibility for HistoryVisibility {
    async fn wait(&self, position: Position) -> Result<()> {
        if position.partition.0 >= self.partitions {
            return Err(Error::invalid(format!(
                "{position} is in partition {}, but the log has only {} partitions",
                position.partition, self.partitions
            )));
        }
        let end = self.log.ends(USER_ACTIONS).await?.of(position.partition);
        if position.offset > end {
            return Err(Error::invalid(format!("{position} was never written: the partition ends at {end}")));
        }
        let target = [(position.partition, position.offset)].into_iter().collect();
        let seen = self.pipeline.committed(&target).await;
        // The pipeline cannot tell now. The next start may bring the event into the history.
        seen.map_err(|error| Error::retriable(error.to_string()).with_source(error))
    }
}

/// The pipeline's condition by component. The gateway itself knows the condition of its fan-out.
pub struct PartsHealth {
    pipeline: PipelineHandle,
    parts: SupervisorHandle,
}

impl PartsHealth {
    pub fn new(pipeline: &PipelineHandle, parts: SupervisorHandle) -> Self {
        PartsHealth { pipeline: pipeline.clone(), parts }
    }
}

impl Health for PartsHealth {
    fn components(&self) -> Vec<Component> {
        let ended = matches!(self.parts.state(RELAY), Some(PartState::Stopped | PartState::Failed { .. }));
        components(&self.pipeline.status(), !ended)
    }
}

fn components(status: &PipelineStatus, relays: bool) -> Vec<Component> {
    let log = match &status.source_trouble {
        Some(why) => Component::down("log", why.to_string()),
        None => Component::up("log"),
    };
    let trouble = status.followers.values().find_map(|follower| follower.trouble.as_ref());
    let trouble = trouble.map(|trouble| trouble.message.as_str());
    let alerts = match trouble.or((!relays).then_some("notifications are no longer published")) {
        Some(why) => Component::degraded("alerts", why),
        None => Component::up("alerts"),
    };
    let history = history(status);
    // The counters are the history's own totals.
    let counters = Component { name: "counters".to_owned(), ..history.clone() };
    vec![log, history, counters, alerts]
}

/// The log still accepts events for a partition that is being retried. A partition that has stopped
/// needs a person.
fn history(status: &PipelineStatus) -> Component {
    if status.ended {
        return Component::down("history", "the pipeline has ended");
    }
    let mut retrying = None;
    for (partition, status) in &status.partitions {
        match &status.state {
            PartitionState::Stopped(why) => {
                return Component::down("history", format!("partition {partition} stopped: {why}"));
            }
            PartitionState::Retrying(why) => {
                retrying = Some(format!("partition {partition} is being retried: {why}"));
            }
            _ => {}
        }
    }
    match retrying {
        Some(why) => Component::degraded("history", why),
        None => Component::up("history"),
    }
}

#[cfg(test)]
mod tests {
    use feedkit_core::health::Condition;
    use feedkit_core::pipeline::{FollowerStatus, PartitionStatus, Trouble};
    use feedkit_core::{ErrorKind, Partition};

    use super::*;

    fn conditions(status: &PipelineStatus, relays: bool) -> Vec<(String, Condition)> {
        components(status, relays).into_iter().map(|c| (c.name, c.condition)).collect()
    }

    fn all_but(changed: &[(&str, Condition)]) -> Vec<(String, Condition)> {
        let names = ["log", "history", "counters", "alerts"];
        let condition = |name: &str| changed.iter().find(|c| c.0 == name).map_or(Condition::Up, |c| c.1);
        names.map(|name| (name.to_owned(), condition(name))).to_vec()
    }

    #[test]
    fn each_trouble_shows_at_its_component() {
        let well = PipelineStatus::default();
        assert_eq!(conditions(&well, true), all_but(&[]));
        assert_eq!(conditions(&well, false), all_but(&[("alerts", Condition::Degraded)]));
        let unread = PipelineStatus {
            source_trouble: Some(Trouble::new(ErrorKind::Retriable, "disk")),
            ..well.clone()
        };
        assert_eq!(conditions(&unread, true), all_but(&[("log", Condition::Down)]));
        let in_state = |state| {
            let partition = PartitionStatus { state, ..Default::default() };
            PipelineStatus { partitions: [(Partition(1), partition)].into(), ..well.clone() }
        };
        let both = |condition| all_but(&[("history", condition), ("counters", condition)]);
        let retrying = in_state(PartitionState::Retrying(Trouble::new(ErrorKind::Retriable, "full")));
        assert_eq!(conditions(&retrying, true), both(Condition::Degraded));
        let stopped = in_state(PartitionState::Stopped(Trouble::new(ErrorKind::Gap, "gap")));
        assert_eq!(conditions(&stopped, true), both(Condition::Down));
        let alerts =
            FollowerStatus { trouble: Some(Trouble::new(ErrorKind::Retriable, "bad")), ..Default::default() };
        let troubled = PipelineStatus { followers: [("alerts".to_owned(), alerts)].into(), ..well };
        assert_eq!(conditions(&troubled, true), all_but(&[("alerts", Condition::Degraded)]));
    }
}
