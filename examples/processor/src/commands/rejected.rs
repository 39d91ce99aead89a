//! `rejected list` and `rejected retry`.

use std::process::ExitCode;

use feedkit_core::codec::Place;
use feedkit_core::sink::NewRecord;
use feedkit_core::source::Record;
use feedkit_core::{Codec, EventSink, Inspect, JsonCodec, Result};
use feedkit_kafka::SinkOptions;
use feedkit_server::output;
use feedkit_store::postgres::{RejectedKey, RejectedValue};

use crate::settings::Settings;

/// Maximum number of rejected records to read at once.
const PAGE: usize = 500;

/// Shows the rejected records.
pub async fn list(count: usize, json: bool, settings: &Settings) -> Result<ExitCode> {
    let found = super::postgres(settings).await?.history().rejected(None, count).await?;
    if json {
        output::json(&found)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(&["place", "time", "reason", "detail", "value"]);
    for record in &found {
        let field = record.field.as_ref().map(|field| format!("{field} ")).unwrap_or_default();
        let value: String = record.value.chars().take(200).collect();
        table.add_row([
            format!("{}:{}", record.partition, record.offset),
            record.time.to_string(),
            record.reason.clone(),
            format!("{field}{}", record.detail),
            value,
        ]);
    }
    output::line(&table)?;
    Ok(ExitCode::SUCCESS)
}

/// Sends the records that are valid events now to the log, and removes them from the rejected ones.
///
/// Each event has the id that its place in the log gave it. So an event counts once, even if the
/// command is interrupted and sends it twice.
pub async fn retry(settings: &Settings) -> Result<ExitCode> {
    let history = super::postgres(settings).await?.history();
    let sink = settings.services.events()?.sink(SinkOptions::default())?;
    let codec = JsonCodec::new(settings.pipeline.event_policy());
    let (mut after, mut sent, mut left) = (None, 0u64, 0u64);
    loop {
        let page = history.rejected_values(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.key);
        let (keys, records): (Vec<_>, Vec<_>) = page.iter().filter_map(|value| record(&codec, value)).unzip();
        left += (page.len() - keys.len()) as u64;
        sent += keys.len() as u64;
        for outcome in sink.send(records).await {
            outcome.map_err(|error| error.context("the log did not take a record"))?;
        }
        history.remove_rejected(&keys).await?;
    }
    sink.flush().await?;
    output::line(&format!("{sent} records are in the log again, {left} are still not valid events"))?;
    Ok(ExitCode::SUCCESS)
}

/// The record to send, if it is a valid event.
fn record(codec: &JsonCodec, rejected: &RejectedValue) -> Option<(RejectedKey, NewRecord)> {
    let RejectedKey { partition, offset, log } = rejected.key;
    if !rejected.whole {
        return None;
    }
    let place = Place { log, partition };
    let record = Record { offset, time: rejected.time, key: None, value: rejected.value.clone() };
    let event = codec.decode(&place, &record).ok()?;
    Some((rejected.key, NewRecord::keyed(event.user.as_str(), JsonCodec::encode(&event))))
}
