//! The program's settings: which there are, and what is made of them.

use std::path::PathBuf;
use std::time::Duration;

use feedkit_server::gateway::{FrontSection, GatewaySection, JwtSection, LiveSection};
use feedkit_server::pipeline::{
    EventsSection, MilestoneSection, PipelineSettings, RetentionSection, SpikeSection, UserRateSection, days,
};
use feedkit_server::settings::{Layers, Origin, Sections};
use feedkit_server::{Failure, logs, settings};

settings! {
    /// What every command takes.
    pub struct GeneralSection in "" {
        /// The directory that holds everything.
        /// With `serve --demo` the default is `feedkit-demo`.
        data: PathBuf = "feedkit-data".into(),
        /// What to log to standard error: error, warn, info, debug, or a filter as `feedkit_core=debug,warn`.
        log: String = "warn".to_owned(),
        /// How a line of the log looks: `text` or `json`.
        log_format: logs::Format = logs::Format::Text,
    }
}

settings! {
    /// The log, of which records are kept for a while after they were read.
    pub struct LogSection in "retention" as "retention_" {
        /// Days that records stay in the log after they were read.
        log_days: u64 = 7,
    }
}

/// What commands that run the pipeline take.
pub type EngineSections =
    (RetentionSection, LogSection, EventsSection, MilestoneSection, SpikeSection, UserRateSection);

/// What `serve` takes besides.
pub type ServeSections = (FrontSection, GatewaySection, LiveSection, JwtSection);

/// All there is, in the order of the reference.
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

/// All settings, complete and checked.
#[derive(Debug)]
pub struct Config {
    pub data: PathBuf,
    /// Nobody has said which directory.
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
    /// The settings in effect.
    ///
    /// # Errors
    ///
    /// Names the key at fault, and where its value comes from.
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
