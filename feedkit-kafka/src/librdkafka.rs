//! librdkafka's log lines: passes them to `tracing`, and finds values that librdkafka shows nowhere
//! else.

use rdkafka::config::RDKafkaLogLevel as Level;

/// Passes a log line of librdkafka to `tracing`, under the target `librdkafka`.
pub(crate) fn line(level: Level, facility: &str, text: &str) {
    // Producers and consumers get the same properties. Each warns of those that only the other
    // uses.
    let level = if facility == "CONFWARN" { Level::Debug } else { level };
    match level {
        Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
            tracing::error!(target: "librdkafka", facility, "{text}");
        }
        Level::Warning => tracing::warn!(target: "librdkafka", facility, "{text}"),
        Level::Notice | Level::Info => tracing::info!(target: "librdkafka", facility, "{text}"),
        Level::Debug => tracing::debug!(target: "librdkafka", facility, "{text}"),
    }
}

/// The topic's id, if the line says that the id has changed. librdkafka also logs this when it
/// first learns the id.
pub(crate) fn topic_id<'l>(text: &'l str, topic: &str) -> Option<&'l str> {
    let (_, rest) = text.split_once("Topic ")?;
    let (name, rest) = rest.split_once(" changed id from ")?;
    let (_, id) = rest.split_once(" to ")?;
    (name == topic && id != NO_ID && !id.is_empty()).then_some(id)
}

/// The id that librdkafka shows for a topic that does not exist or has no id.
const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// The offset at which a partition ends, from the reason of an end-of-partition event. Only this
/// text has it.
pub(crate) fn end_offset(reason: &str) -> Option<u64> {
    let (_, rest) = reason.split_once("reached end of partition at offset ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topics_id_is_found_in_the_line() {
        let line = "[thrd:main]: Topic user-actions changed id from AAAAAAAAAAAAAAAAAAAAAA to 9uiwUqWmQwOrUYh6BSYJmw";
        assert_eq!(topic_id(line, "user-actions"), Some("9uiwUqWmQwOrUYh6BSYJmw"));
        assert_eq!(topic_id(line, "actions"), None);
        assert_eq!(
            topic_id("Topic t changed id from 9uiwUqWmQwOrUYh6BSYJmw to AAAAAAAAAAAAAAAAAAAAAA", "t"),
            None
        );
        assert_eq!(topic_id("Topic user-actions partition 1 Leader 1", "user-actions"), None);
    }

    #[test]
    fn the_end_is_found_in_the_reason() {
        let reason = "Fetch from broker 1 reached end of partition at offset 42 (HighwaterMark 43)";
        assert_eq!(end_offset(reason), Some(42));
        assert_eq!(end_offset("Fetch from broker 1 failed"), None);
    }
}
