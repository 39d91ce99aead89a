//! `POST /api/events`: one event.

use std::sync::Arc;
use std::time::Duration;

use poem::http::StatusCode;
use poem::{Endpoint, Request, Response};
use serde::Serialize;

use super::{Caller, body, decode};
use crate::Problem;
use crate::answer::json;
use crate::problem::Seldom;
use crate::state::State;
use feedkit_core::codec::InvalidEvent;
use feedkit_core::sink::NewRecord;
use feedkit_core::{Authorizer, Clock, Error, EventId, EventSink, Position, Result};

/// Accepts one event, and answers when the log has acknowledged it.
pub(crate) struct PostEvent(pub(crate) Arc<State>);

/// The answer.
#[derive(Serialize)]
struct Accepted {
    id: EventId,
    position: String,
}

impl Endpoint for PostEvent {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(self.answer(request).await?)
    }
}

impl PostEvent {
    async fn answer(&self, mut request: Request) -> Result<Response, Problem> {
        let state = &*self.0;
        body::media_type(&request, &["application/json"])?;
        let who = state.identify(&request).await?;
        let key = decode::idempotency_key(&request)?;
        state.spend(&who, &Caller::of(&request), 1).await?;
        let body = body::read(state, &mut request, state.options.max_body_bytes).await?;

        let now = state.parts.clock.now();
        let event = decode::event(&state.options.events, &body.bytes, now, key)
            .map_err(|invalid| state.refused(invalid))?;
        if !state.parts.authorizer.may_send(&who, &event) {
            return Err(state.not_theirs(event.user.as_str()));
        }
        let _room = state.admit(1)?;
        let outcome = state.send(vec![decode::record(&event)]).await.into_iter().next();
        let outcome = outcome.unwrap_or_else(|| Err(Error::uncertain("the log returned no outcome")));
        let position = state.taken(event.id, outcome)?;
        state.metrics.accepted.inc();
        let accepted = Accepted { id: event.id, position: position.to_string() };
        Ok(json(StatusCode::ACCEPTED, &accepted))
    }
}

impl State {
    /// Sends records to the log, and waits for at most
    /// [`answer_timeout`](crate::GatewayOptions::answer_timeout).
    pub(super) async fn send(&self, records: Vec<NewRecord>) -> Vec<Result<Position>> {
        let count = records.len();
        let timer = self.metrics.acknowledged.start_timer();
        let sent = self.in_time("the log", async { Ok(self.parts.sink.send(records).await) }).await;
        timer.observe_duration();
        // The log may have taken them although it did not answer in time.
        sent.unwrap_or_else(|late| (0..count).map(|_| Err(Error::uncertain(late.to_string()))).collect())
    }

    /// Converts the log's outcome for the event `id` into an answer.
    pub(super) fn taken(&self, id: EventId, outcome: Result<Position>) -> Result<Position, Problem> {
        static REFUSES: Seldom = Seldom::new();
        outcome.map_err(|error| {
            if error.kind().must_set_aside() {
                self.metrics.rejected("invalid", 1);
                return Problem::invalid(error.to_string());
            }
            self.metrics.rejected("unavailable", 1);
            if REFUSES.due() {
                tracing::warn!(?error, "the log does not accept events");
            }
            // Sending again is safe even if the log has the event. The client may not know the id
            // yet.
            let detail = format!("the log did not acknowledge; send the event again with the id {id}");
            Problem::unavailable(detail).retry_after(Duration::from_secs(1))
        })
    }

    /// The answer to a client that sent an invalid event.
    pub(super) fn refused(&self, invalid: InvalidEvent) -> Problem {
        self.metrics.rejected(invalid.reason.as_str(), 1);
        Problem::from(invalid)
    }

    /// The answer to a client that writes as another user.
    pub(super) fn not_theirs(&self, user: &str) -> Problem {
        self.metrics.rejected("forbidden", 1);
        Problem::forbidden(format!("this token may not write events of {user}")).field("userId")
    }
}
