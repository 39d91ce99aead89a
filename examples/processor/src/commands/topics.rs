//! `create-topics`.

use std::process::ExitCode;

use feedkit_core::Result;
use feedkit_kafka::admin::{self, NewTopic};
use feedkit_server::output;

use crate::cli::CreateTopics;
use crate::config::Config;

/// Creates the topics that do not exist yet.
pub async fn create(args: &CreateTopics, config: &Config) -> Result<ExitCode> {
    let events = config.services.events()?;
    let notifications = config.services.notifications()?;
    let new_topic = |name: &str| {
        let mut topic = NewTopic::new(name).partitions(args.partitions);
        topic.replicas = args.replicas;
        topic.min_in_sync = args.min_in_sync;
        topic.retention = args.retention;
        topic
    };
    let topics = [new_topic(&events.topic), new_topic(&notifications.topic)];
    let created = admin::create_topics(&events, &topics).await.map_err(|error| error.context("Kafka"))?;
    for topic in created {
        let what = if topic.is_new { "created" } else { "exists already" };
        output::line(&format!("{}: {what}", topic.name))?;
    }
    Ok(ExitCode::SUCCESS)
}
