//! `GET /api/posts/{id}/activity`: the activity of a post by hour or by day.

use std::sync::Arc;
use std::time::Duration;

use poem::http::StatusCode;
use poem::{Request, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::params::Params;
use super::shared::{Reads, post_of};
use crate::Problem;
use crate::answer::encoded;
use feedkit_core::Timestamp;
use feedkit_core::queries::{Activity, Bucket};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// The activity of a post.
#[derive(Serialize, ToSchema)]
pub(crate) struct ActivityAnswer {
    /// The buckets, oldest first; empty ones are left out.
    buckets: Vec<Activity>,
}

pub(super) async fn activity(reads: Arc<Reads>, request: Request) -> Result<Response, Problem> {
    reads.admit(&request).await?;
    let post = post_of(&request)?;
    let params = Params::of(&request, &["by", "from", "to", "after"])?;
    let by = params.choice("by", &[("hour", By::HOUR), ("day", By::DAY)])?.unwrap_or(By::HOUR);
    let (from, to) = by.span(params.time("from")?, params.time("to")?, reads.now())?;
    let after = params.after()?;
    reads.visible(after).await?;

    let key = format!("activity:{}:{post}:{}:{}", by.name, from.as_millis(), to.as_millis());
    let buckets = async {
        let buckets = reads.ask(reads.state.parts.queries.activity(&post, by.bucket, from, to)).await?;
        Ok(ActivityAnswer { buckets })
    };
    Ok(encoded(StatusCode::OK, reads.history(key, after.is_some(), buckets).await?))
}

/// A bucket width and its limits.
#[derive(Clone, Copy)]
struct By {
    name: &'static str,
    bucket: Bucket,
    width: Duration,
    /// The number of buckets without `from`, including the current one.
    default: u32,
    /// Maximum number of buckets in one answer.
    max: u32,
}

impl By {
    const HOUR: By = By { name: "hour", bucket: Bucket::Hour, width: HOUR, default: 24, max: 31 * 24 };
    const DAY: By = By { name: "day", bucket: Bucket::Day, width: DAY, default: 30, max: 3 * 366 };

    /// The range in which buckets start. Both ends are rounded to a bucket's start, so that equal
    /// answers have equal ranges.
    fn span(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(Timestamp, Timestamp), Problem> {
        let to = match to {
            Some(to) => self.next_start(to),
            None => self.bucket.start(now).saturating_add(self.width),
        };
        let from = match from {
            Some(from) => self.next_start(from),
            None => to.saturating_sub(self.width * self.default),
        };
        if from > to {
            return Err(Problem::invalid("`from` lies after `to`").field("from"));
        }
        if to.since(from) > self.width * self.max {
            let detail = format!("`from` lies more than {} {}s before `to`", self.max, self.name);
            return Err(Problem::invalid(detail).field("from"));
        }
        Ok((from, to))
    }

    /// The start of the first bucket that does not start before `time`.
    fn next_start(&self, time: Timestamp) -> Timestamp {
        let start = self.bucket.start(time);
        if start == time { start } else { start.saturating_add(self.width).min(Timestamp::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_stand_on_buckets_starts() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-03-02T10:20:00Z");
        let span = |by: By, from: Option<&str>, to: Option<&str>| {
            let (from, to) = by.span(from.map(at), to.map(at), now).ok()?;
            Some((from.to_string(), to.to_string()))
        };
        let expected = |from: &str, to: &str| Some((from.to_owned(), to.to_owned()));
        assert_eq!(span(By::HOUR, None, None), expected("2026-03-01T11:00:00Z", "2026-03-02T11:00:00Z"));
        assert_eq!(span(By::DAY, None, None), expected("2026-02-01T00:00:00Z", "2026-03-03T00:00:00Z"));
        let (from, to) = ("2026-03-01T00:00:00.001Z", "2026-03-01T05:00:00Z");
        assert_eq!(
            span(By::HOUR, Some(from), Some(to)),
            expected("2026-03-01T01:00:00Z", "2026-03-01T05:00:00Z")
        );
        assert_eq!(span(By::HOUR, Some(to), Some(from)), None);
        assert_eq!(span(By::HOUR, Some("2026-01-01T00:00:00Z"), None), None, "too many hours");
        assert!(span(By::DAY, Some("2026-01-01T00:00:00Z"), None).is_some());
    }
}
