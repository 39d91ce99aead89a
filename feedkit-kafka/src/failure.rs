//! What a caller can do about an error of librdkafka's.

use feedkit_core::{Error, ErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// An error of anything but the delivery of a record: nothing was changed by what failed.
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

/// Not before a person has changed something.
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
        Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::InvalidTimestamp => Invalid,
        // Never left this process, or was refused before it was written.
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
        // Time-outs among them: librdkafka does not tell whether the record was under way.
        _ => Uncertain,
    };
    Error::new(kind, format!("not acknowledged by Kafka: {code}"))
}

/// The producer's sequence is broken: it takes nothing more.
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
