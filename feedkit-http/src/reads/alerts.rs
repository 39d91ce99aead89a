//! `GET /api/alerts`: the alerts, for moderators.

use std::sync::Arc;

use poem::http::StatusCode;
use poem::{Request, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::cursor;
use super::params::Params;
use super::shared::Reads;
use crate::Problem;
use crate::answer::json;
use feedkit_core::notification::{Audience, Notification};

/// The role that may read alerts.
const MODERATOR: &str = "moderator";

/// A page of alerts, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct AlertsAnswer {
    /// The alerts.
    alerts: Vec<Notification>,
    /// The cursor of the page after this one; null at the end.
    #[schema(required)]
    next: Option<String>,
}

pub(super) async fn alerts(reads: Arc<Reads>, request: Request) -> Result<Response, Problem> {
    let who = reads.identify(&request).await?;
    let moderators = Audience::Role(MODERATOR.to_owned());
    if !reads.state.parts.authorizer.may_listen(&who, &moderators) {
        return Err(Problem::forbidden("reading alerts requires the role moderator"));
    }
    let params = Params::of(&request, &["limit", "cursor", "after"])?;
    let limit = params.limit()?;
    let before = params.text("cursor").map(cursor::alert).transpose()?;
    reads.visible(params.after()?).await?;

    // One extra row shows whether there is another page.
    let mut rows = reads.ask(reads.state.parts.alerts.alerts(before, limit + 1)).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|(number, _)| cursor::of_alert(*number));
    let alerts = rows.into_iter().map(|(_, alert)| alert).collect();
    Ok(json(StatusCode::OK, &AlertsAnswer { alerts, next }))
}
