#![doc = include_str!("../README.md")]

pub mod admin;
mod config;
mod failure;
mod librdkafka;
mod probe;
mod sink;
mod source;

pub use config::{GroupProtocol, Kafka, SinkOptions, SourceOptions};
pub use sink::{KafkaSink, SinkStats};
pub use source::{KafkaSource, PartitionStats, SourceHandle, SourceStats};
