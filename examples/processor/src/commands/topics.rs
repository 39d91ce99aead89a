//! `create-topics`.

use std::process::ExitCode;

use feedkit_core::Result;
use feedkit_kafka::admin::{self, TopicSettings};
use feedkit_server::output;

use crate::cli::CreateTopics;
use crate::config::Config;

/// Makes the topics that are missing.
pub async fn create(args: &CreateTopics, config: &Config) -> Result<ExitCode> {
    let events = config.services.events()?;
    let notifications = config.services.notifications()?;
    let settings = |name: &str| {
        let mut settings = TopicSettings::new(name).partitions(args.partitions);
        settings.replicas = args.replicas;
        settings.min_in_sync = args.min_in_sync;
        settings.retention = args.retention;
        settings
    };
    let wanted = [settings(&events.topic), settings(&notifications.topic)];
    let made = admin::create_topics(&events, &wanted).await.map_err(|error| error.context("Kafka"))?;
    for topic in made {
        let what = if topic.made { "made" } else { "is there already" };
        output::line(&format!("{}: {what}", topic.name))?;
    }
    Ok(ExitCode::SUCCESS)
}
