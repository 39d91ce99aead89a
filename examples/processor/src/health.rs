//! A processor's condition, component by component.

use feedkit_core::health::{Component, Condition};
use feedkit_core::pipeline::{PartitionState, PipelineStatus};
use feedkit_kafka::SourceStats;

/// The components that decide about readiness. A processor that cannot go on is not ready, although
/// it tries again by itself.
pub fn components(status: &PipelineStatus, source: &SourceStats) -> Vec<Component> {
    let log = match &status.source_trouble {
        Some(why) => Component::down("log", why.to_string()),
        None if !source.connected => Component::down("log", "no broker is connected"),
        None => Component::up("log"),
    };
    let mut all = vec![log, history(status)];
    all.extend(status.followers.iter().map(|(name, follower)| {
        match (&follower.trouble, follower.stopped, follower.rebuilding) {
            (Some(why), true, _) => Component::down(name, format!("stopped: {why}")),
            (_, _, Some(cause)) => Component::degraded(name, format!("is being rebuilt ({cause})")),
            (Some(why), ..) => Component::down(name, format!("is being retried: {why}")),
            (None, ..) => Component::up(name),
        }
    }));
    all
}

/// Whether no component is down.
pub fn is_ready(components: &[Component]) -> bool {
    components.iter().all(|c| c.condition != Condition::Down)
}

fn history(status: &PipelineStatus) -> Component {
    if status.ended {
        return Component::down("history", "the pipeline has ended");
    }
    let stopped = troubles(status, |state| match state {
        PartitionState::Stopped(why) => Some(format!("stopped: {why}")),
        _ => None,
    });
    let retried = troubles(status, |state| match state {
        PartitionState::Retrying(why) => Some(format!("is being retried: {why}")),
        _ => None,
    });
    match stopped.or(retried) {
        Some(why) => Component::down("history", why),
        None => Component::up("history"),
    }
}

/// The troubles of all partitions for which `why` returns one.
fn troubles(status: &PipelineStatus, why: impl Fn(&PartitionState) -> Option<String>) -> Option<String> {
    let found: Vec<_> = status
        .partitions
        .iter()
        .filter_map(|(partition, status)| {
            why(&status.state).map(|why| format!("partition {partition} {why}"))
        })
        .collect();
    (!found.is_empty()).then(|| found.join("; "))
}

#[cfg(test)]
mod tests {
    use feedkit_core::pipeline::{FollowerStatus, PartitionStatus, RebuildCause, Trouble};
    use feedkit_core::{ErrorKind, Partition};

    use super::*;

    #[test]
    fn any_trouble_makes_it_unready_and_names_the_component() {
        let (well, mut connected) = (PipelineStatus::default(), SourceStats::default());
        let unconnected = connected.clone();
        connected.connected = true;
        assert!(is_ready(&components(&well, &connected)));
        let partition = PartitionStatus {
            state: PartitionState::Stopped(Trouble::new(ErrorKind::Gap, "a gap")),
            ..Default::default()
        };
        let stopped = PipelineStatus { partitions: [(Partition(3), partition)].into(), ..well.clone() };
        let follower = FollowerStatus {
            trouble: Some(Trouble::new(ErrorKind::Retriable, "no Redis")),
            ..Default::default()
        };
        let behind = PipelineStatus { followers: [("counters".to_owned(), follower)].into(), ..well.clone() };
        let unread = PipelineStatus {
            source_trouble: Some(Trouble::new(ErrorKind::Retriable, "no topic")),
            ..well.clone()
        };
        let mut rebuilt = behind.clone();
        for follower in rebuilt.followers.values_mut() {
            follower.rebuilding = Some(RebuildCause::Expired);
        }
        let all = components(&rebuilt, &connected);
        assert!(is_ready(&all) && all[2].condition == Condition::Degraded, "{all:?}");
        for (status, source, name, words) in [
            (stopped, &connected, "history", "partition 3"),
            (behind, &connected, "counters", "no Redis"),
            (unread, &connected, "log", "no topic"),
            (well, &unconnected, "log", "no broker"),
        ] {
            let all = components(&status, source);
            let down: Vec<_> = all.iter().filter(|c| c.condition == Condition::Down).collect();
            assert!(!is_ready(&all) && down.len() == 1 && down[0].name == name, "{all:?}");
            assert!(down[0].detail.as_ref().is_some_and(|detail| detail.contains(words)), "{all:?}");
        }
    }
}
