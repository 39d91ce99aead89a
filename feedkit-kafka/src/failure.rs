//! The kinds of librdkafka's errors: what a caller can do about them.

use feedkit_core::{Error, ErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// An error of any call but the delivery of a record. The failed call has changed nothing.
pub(crate) fn failed(what: impl std::fmt::Display, error: KafkaError) -> Error {
    let kind = match error.rdkafka_error_code() {
        Some(code) if is_refused(code) => ErrorKind::Fatal,
        _ if matches!(error, KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_)) => {
            ErrorKind::Invalid
        }
        _ => ErrorKind::Retriable,
    };
    Error::new(kind, format!("{what}: {error}")).with_source(error)
}

/// Whether a person has to change something first, such as a permission.
fn is_refused(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::UnsupportedVersion
            | Code::UnsupportedSASLMechanism
            | Code::SecurityDisabled
    )
}

/// The outcome of a record that was not acknowledged.
pub(crate) fn undelivered(code: Code) -> Error {
    use ErrorKind::{Fatal, Invalid, Retriable, Uncertain};
    let kind = match code {
        // Only the sender can make the record smaller.
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => Invalid,
        // The broker refused the record before writing it, for a reason that its sender cannot
        // change: the time of this machine, or how the topic is set up.
        Code::InvalidTimestamp | Code::InvalidRecord | Code::PolicyViolation => Retriable,
        // The record has not left this process, or the broker refused it before writing.
        Code::QueueFull
        | Code::PurgeQueue
        | Code::TimedOutQueue
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition
        | Code::NotEnoughReplicas
        | Code::LeaderNotAvailable
        | Code::Fatal => Retriable,
        code if is_refused(code) => Fatal,
        // This includes time-outs: librdkafka does not say whether the record had been sent.
        _ => Uncertain,
    };
    Error::new(kind, format!("Kafka did not acknowledge the record: {code}{}", advice(code)))
        .with_source(KafkaError::MessageProduction(code))
}

/// What a person can do about it.
fn advice(code: Code) -> &'static str {
    match code {
        Code::InvalidTimestamp => {
            ". The clock of this machine differs from the broker's by more than the topic allows \
             (message.timestamp.after.max.ms): correct the clock"
        }
        Code::InvalidRecord | Code::PolicyViolation => {
            ". The broker does not accept such records in this topic: look at the topic's configuration"
        }
        Code::UnknownTopic | Code::UnknownTopicOrPartition => {
            ". There is no such topic: `feedkit-processor create-topics` creates it"
        }
        _ => "",
    }
}

/// Whether `error` is a sink's, and says that the broker refuses every record of this process until a
/// person has changed something: a clock, a permission, or the topic's configuration.
pub fn refuses_all(error: &Error) -> bool {
    use std::error::Error as _;
    let cause = error.source().and_then(|cause| cause.downcast_ref::<KafkaError>());
    cause.and_then(KafkaError::rdkafka_error_code).is_some_and(|code| {
        matches!(code, Code::InvalidTimestamp | Code::InvalidRecord | Code::PolicyViolation)
            || is_refused(code)
    })
}

/// Whether the producer's sequence is broken, so that it accepts no more records.
pub(crate) fn breaks_producer(code: Code) -> bool {
    matches!(
        code,
        Code::Fatal
            | Code::Fenced
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::InvalidProducerIdMapping
            | Code::OutOfOrderSequenceNumber
    )
}
