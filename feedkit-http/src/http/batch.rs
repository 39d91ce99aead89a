//! `POST /api/events/batch`: many events, with one outcome for each.

use std::sync::Arc;
use std::time::Duration;

use poem::http::StatusCode;
use poem::{Endpoint, Request, Response};
use serde::{Serialize, Serializer};

use super::{Caller, body, decode};
use crate::Problem;
use crate::answer::json;
use crate::state::State;
use feedkit_core::{Authorizer, Clock, EventId, Position, Result};

/// Accepts a batch, and answers when the log has acknowledged the valid events.
pub(crate) struct PostBatch(pub(crate) Arc<State>);

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

#[derive(Serialize)]
struct Outcomes {
    accepted: usize,
    results: Vec<Outcome>,
}

/// The outcome of one event.
#[derive(Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Outcome {
    Accepted {
        id: EventId,
        #[serde(serialize_with = "as_text")]
        position: Position,
    },
    Invalid {
        #[serde(serialize_with = "as_body")]
        problem: Problem,
    },
    Retry {
        #[serde(serialize_with = "as_body")]
        problem: Problem,
    },
}

fn as_text<S: Serializer>(position: &Position, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(position)
}

fn as_body<S: Serializer>(problem: &Problem, serializer: S) -> Result<S::Ok, S::Error> {
    problem.body(None).serialize(serializer)
}

impl Outcome {
    fn failed(problem: Problem) -> Self {
        match problem.status {
            StatusCode::SERVICE_UNAVAILABLE => Outcome::Retry { problem },
            _ => Outcome::Invalid { problem },
        }
    }
}

impl Endpoint for PostBatch {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(self.answer(request).await?)
    }
}

impl PostBatch {
    async fn answer(&self, mut request: Request) -> Result<Response, Problem> {
        let state = &*self.0;
        let format = body::media_type(&request, &[JSON, NDJSON])?;
        let who = state.identify(&request).await?;
        decode::no_idempotency_key(&request)?;
        let caller = Caller::of(&request);
        let body = body::read(state, &mut request, state.options.max_batch_bytes).await?;
        let max = state.options.max_batch_events;
        let split = if format == NDJSON { decode::lines } else { decode::array };
        let items = match split(&body.bytes, max) {
            Ok(items) => items,
            Err(problem) => {
                // Otherwise unreadable batches would cost nothing.
                state.spend(&who, &caller, 1).await?;
                return Err(problem);
            }
        };
        state.spend(&who, &caller, items.len()).await?;

        let now = state.parts.clock.now();
        let mut records = Vec::with_capacity(items.len());
        let mut decoded = Vec::with_capacity(items.len());
        for json in items {
            decoded.push(match decode::event(&state.options.events, json, now, None) {
                Err(invalid) => Err(state.refused(invalid)),
                Ok(event) if !state.parts.authorizer.may_send(&who, &event) => {
                    Err(state.not_theirs(event.user.as_str()))
                }
                Ok(event) => {
                    records.push(decode::record(&event));
                    Ok(event.id)
                }
            });
        }
        // The records have their own copies of the values.
        drop(body);
        let sent = if records.is_empty() {
            Vec::new()
        } else {
            let _room = state.admit(records.len())?;
            state.send(records).await
        };
        outcomes(state, decoded, sent)
    }
}

/// Combines the decoded items with the log's outcomes for the valid ones.
fn outcomes(
    state: &State,
    decoded: Vec<Result<EventId, Problem>>,
    sent: Vec<Result<Position>>,
) -> Result<Response, Problem> {
    let (mut accepted, mut retry) = (0, false);
    let mut sent = sent.into_iter();
    let mut results = Vec::with_capacity(decoded.len());
    for item in decoded {
        results.push(match item {
            Err(problem) => Outcome::failed(problem),
            Ok(id) => {
                let outcome = sent
                    .next()
                    .unwrap_or_else(|| Err(feedkit_core::Error::uncertain("the log returned no outcome")));
                match state.taken(id, outcome) {
                    Ok(position) => {
                        accepted += 1;
                        Outcome::Accepted { id, position }
                    }
                    Err(problem) => Outcome::failed(problem),
                }
            }
        });
        retry |= matches!(results.last(), Some(Outcome::Retry { .. }));
    }
    state.metrics.accepted.inc_by(accepted as u64);
    if accepted == 0 && retry {
        let problem =
            Problem::unavailable("the log accepted none of these events; send them again with the same ids");
        return Err(problem.retry_after(Duration::from_secs(1)));
    }
    Ok(json(StatusCode::OK, &Outcomes { accepted, results }))
}
