//! librdkafka's own lines, for `tracing`.

use rdkafka::config::RDKafkaLogLevel as Level;

/// Passes a line of librdkafka's on, under the target `librdkafka`.
pub(crate) fn line(level: Level, facility: &str, text: &str) {
    // One set of properties serves producers and consumers: each warns of what is the other's.
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

/// The topic and its new and old id, if the line says that a topic's id has changed. From nothing counts too.
pub(crate) fn topic_id<'l>(text: &'l str, topic: &str) -> Option<(&'l str, &'l str)> {
    let (_, rest) = text.split_once("Topic ")?;
    let (name, rest) = rest.split_once(" changed id from ")?;
    let (old, new) = rest.split_once(" to ")?;
    (name == topic).then_some((old.trim(), new.trim()))
}

/// What librdkafka prints for the id of a topic that it does not know, or that has none.
pub(crate) const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topics_id_is_found_in_the_line() {
        let line = "[thrd:main]: Topic user-actions changed id from AAAAAAAAAAAAAAAAAAAAAA to 9uiwUqWmQwOrUYh6BSYJmw";
        assert_eq!(topic_id(line, "user-actions"), Some((NO_ID, "9uiwUqWmQwOrUYh6BSYJmw")));
        assert_eq!(topic_id(line, "actions"), None);
        assert_eq!(topic_id("Topic user-actions partition 1 Leader 1", "user-actions"), None);
    }
}
