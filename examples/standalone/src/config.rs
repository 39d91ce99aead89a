//! The settings of the program.

use std::path::PathBuf;
use std::time::Duration;

use feedkit_server::gateway::{FrontSection, GatewaySection, JwtSection, LiveSection};
use feedkit_server::pipeline::{
    EventsSection, MilestoneSection, PipelineSettings, RetentionSection, SpikeSection, UserRateSection, days,
};
use feedkit_server::settings::{Layers, Origin, Sections};
use feedkit_server::{Failure, logs, settings};

settings! {
    /// Settings of every command.
    pub struct GeneralSection in "" {
        /// The directory that contains all data. With `serve --demo`, the default is
        /// `feedkit-demo`.
        data: PathBuf = "feedkit-data".into(),
        /// What to log to standard error: `error`, `warn`, `info`, `debug`, or a filter such as
        /// `feedkit_core=debug,warn`.
        log: String = "warn".to_owned(),
        /// The format of log lines: `text` or `json`.
        log_format: logs::Format = logs::Format::Text,
    }
}

settings! {
    /// How long the log keeps records that have been read.
    pub struct LogSection in "retention" as "retention_" {
        /// How many days a record stays in the log after it has been read.
        log_days: u64 = 7,
    }
}

/// Settings of the commands that run the pipeline.
pub type EngineSections =
    (RetentionSection, LogSection, EventsSection, MilestoneSection, SpikeSection, UserRateSection);

/// More settings of `serve`.
pub type ServeSections = (FrontSection, GatewaySection, LiveSection, JwtSection);

/// All sections, in the order of the reference.
pub type AllSections = (
    GeneralSection,
    FrontSection,
    GatewaySection,
    LiveSection,
    JwtSection,
    RetentionSection,
    LogSection,
    EventsSection,
    MilestoneSection,
    SpikeSection,
    UserRateSection,
);

/// All settings, loaded and checked.
#[derive(Debug)]
pub struct Config {
    pub data: PathBuf,
    /// Whether the directory is the default.
    pub data_is_default: bool,
    pub log: String,
    pub log_format: logs::Format,
    pub front: FrontSection,
    pub gateway: GatewaySection,
    pub live: LiveSection,
    pub jwt: JwtSection,
    pub pipeline: PipelineSettings,
    log_days: u64,
}

impl Config {
    /// The effective settings.
    ///
    /// # Errors
    ///
    /// Names the key, and where its wrong value comes from.
    pub fn load(layers: &Layers) -> Result<Config, Failure> {
        let (general, front, gateway, live, jwt, _, retained, ..) = AllSections::load(layers)?;
        let pipeline = PipelineSettings::load::<AllSections>(layers)?;
        let data = AllSections::keys().into_iter().find(|key| key.path() == "data");
        let data_is_default = data.is_none_or(|key| matches!(layers.origin(&key), Origin::Default(_)));
        Ok(Config {
            data: general.data,
            data_is_default,
            log: general.log,
            log_format: general.log_format,
            front,
            gateway,
            live,
            jwt,
            pipeline,
            log_days: retained.log_days,
        })
    }

    /// How long records stay in the log.
    pub fn keep_log(&self) -> Duration {
        days(self.log_days)
    }
}

#[cfg(test)]
mod tests;
