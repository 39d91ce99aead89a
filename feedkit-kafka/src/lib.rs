#![doc = include_str!("../README.md")]

pub mod admin;
mod config;
mod failure;
mod kafka;
mod librdkafka;
mod probe;
mod properties;
mod sink;
mod source;

pub use config::{GroupProtocol, SinkOptions, SourceOptions};
pub use failure::refuses_all;
pub use kafka::Kafka;
pub use sink::{KafkaSink, SinkStats};
pub use source::{KafkaSource, PartitionStats, SourceHandle, SourceStats};
