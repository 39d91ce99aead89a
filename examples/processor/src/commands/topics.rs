//! `create-topics`.

use std::process::ExitCode;

use feedkit_core::Result;
use feedkit_kafka::admin::{self, NewTopic};
use feedkit_server::output;

use crate::cli::CreateTopics;
use crate::settings::Settings;

/// Creates the topics that do not exist yet. Fails if one that exists differs from what was asked for.
pub async fn create(args: &CreateTopics, settings: &Settings) -> Result<ExitCode> {
    let events = settings.services.events()?;
    let notifications = settings.services.notifications()?;
    let new_topic = |name: &str| {
        let mut topic = NewTopic::new(name).partitions(args.partitions);
        topic.replicas = args.replicas;
        topic.min_in_sync = args.min_in_sync;
        topic.retention = args.retention;
        topic
    };
    let topics = [new_topic(&events.topic), new_topic(&notifications.topic)];
    let created = admin::create_topics(&events, &topics).await.map_err(|error| error.context("Kafka"))?;
    let mut all_as_asked = true;
    for topic in created {
        let what = match (topic.is_new, topic.differences.is_empty()) {
            (true, _) => "created".to_owned(),
            (false, true) => "exists already".to_owned(),
            (false, false) => format!("exists already, but {}", topic.differences.join(", and ")),
        };
        all_as_asked &= topic.differences.is_empty();
        output::line(&format!("{}: {what}", topic.name))?;
    }
    Ok(if all_as_asked { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
