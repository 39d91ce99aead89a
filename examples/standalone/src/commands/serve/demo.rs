//! `serve --demo`: made-up traffic, as it happens.
//!
//! Goes in chapters of ten minutes. In each, a post of the page's user goes viral at once, and another is liked by a
//! farm: within a minute there are milestones for the user and a FRAUD for moderators. Events are dated as they are
//! sent. What the rules have to know of before (what is usual for the farmed post) is sent first, dated back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use feedkit_core::pipeline::Backoff;
use feedkit_core::sink::NewRecord;
use feedkit_core::traffic::{Farm, Steady, TrafficOptions, Viral};
use feedkit_core::{Clock, Error, EventSink, PostId, Result, SystemClock, Timestamp};
use feedkit_store::sqlite::{Sqlite, SqliteOptions, SqliteSink, USER_ACTIONS};
use tokio_util::sync::CancellationToken;

use super::welcome::USER;

/// Where the demo's data lies unless told otherwise.
pub const DIRECTORY: &str = "feedkit-demo";

/// Says that a directory is the demo's.
const MARK: &str = "demo";

const CHAPTER: Duration = Duration::from_secs(600);
/// How far back the made-up past of a new directory goes.
const PAST: Duration = Duration::from_secs(3 * 3600);
/// How long the farmed post is liked before a chapter begins: longer than the rule's warm-up.
const USUAL: Duration = Duration::from_secs(600);
/// Likes a second that are usual for the farmed post.
const USUAL_RATE: f64 = 0.3;
/// Records sent at once.
const BATCH: usize = 1000;
/// What is due within this is sent together.
const TICK: Duration = Duration::from_millis(50);
/// Further behind than this (the machine slept), a new chapter begins.
const BEHIND: Duration = Duration::from_secs(10);

/// Refuses a directory that holds events of others.
pub async fn check_directory(data: &Path) -> Result<()> {
    if mark(data).exists() || !data.join("log.db").exists() {
        return Ok(());
    }
    let store = Sqlite::open_read_only(data, SqliteOptions::default()).await?;
    let held = store.log().ends(USER_ACTIONS).await?.total();
    store.close().await;
    match held {
        0 => Ok(()),
        n => Err(Error::invalid(format!(
            "{} holds {n} events that are not the demo's, and made-up ones must not come among them: leave --data \
             out, or name a new directory",
            data.display()
        ))),
    }
}

fn mark(data: &Path) -> PathBuf {
    data.join(MARK)
}

/// The demo on one directory.
pub struct Demo {
    sink: SqliteSink,
    /// Nothing was played here yet.
    is_new: bool,
}

impl Demo {
    /// Marks the directory as the demo's.
    pub fn new(data: &Path, sink: SqliteSink) -> Result<Self> {
        let (mark, text) = (mark(data), "What is in this directory was made up by `feedkit serve --demo`.\n");
        let is_new = !mark.exists();
        std::fs::write(&mark, text).map_err(|e| Error::fatal(format!("{}: {e}", mark.display())))?;
        Ok(Demo { sink, is_new })
    }

    /// Plays until `stop`.
    ///
    /// # Errors
    ///
    /// When the log does not take events any more.
    pub async fn play(self, stop: &CancellationToken) -> Result<()> {
        let mut chapter = Chapter::new(SystemClock.now())?;
        let mut past = chapter.past(self.is_new)?.into_iter().peekable();
        while past.peek().is_some() && !stop.is_cancelled() {
            self.send(past.by_ref().take(BATCH).collect(), stop).await?;
        }
        loop {
            self.perform(&chapter, stop).await?;
            if stop.is_cancelled() {
                return Ok(());
            }
            chapter = Chapter::new(SystemClock.now())?;
        }
    }

    /// Sends a chapter's events when they are due.
    async fn perform(&self, chapter: &Chapter, stop: &CancellationToken) -> Result<()> {
        let mut items = chapter.items()?.peekable();
        while let Some((due, _)) = items.peek() {
            let now = SystemClock.now();
            if now.since(*due) > BEHIND {
                tracing::info!("the demo is behind by more than {BEHIND:?}, and begins anew");
                return Ok(());
            }
            let wait = due.since(now).max(TICK);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let now = SystemClock.now();
            let due = std::iter::from_fn(|| items.next_if(|(due, _)| *due <= now));
            self.send(due.take(BATCH).map(|(_, record)| record).collect(), stop).await?;
        }
        Ok(())
    }

    /// Sends until all are taken. All bear ids: sending one again does no harm.
    async fn send(&self, mut records: Vec<NewRecord>, stop: &CancellationToken) -> Result<()> {
        let mut waits = Backoff::default().waits();
        while !records.is_empty() {
            let outcomes = self.sink.send(records.clone()).await;
            let mut left = Vec::new();
            for (record, outcome) in records.into_iter().zip(outcomes) {
                match outcome {
                    Ok(_) => {}
                    Err(e) if e.kind().may_pass() => left.push(record),
                    Err(error) => return Err(error),
                }
            }
            records = left;
            if !records.is_empty() {
                tokio::select! {
                    () = waits.sleep() => {}
                    () = stop.cancelled() => return Ok(()),
                }
            }
        }
        Ok(())
    }
}

/// Ten minutes of traffic.
struct Chapter {
    start: Timestamp,
    /// The page's user's, which goes viral.
    photo: PostId,
    /// Whose likes are bought.
    promoted: PostId,
}

impl Chapter {
    /// Posts are new in each chapter: on an old one most likes would be repeats.
    fn new(start: Timestamp) -> Result<Self> {
        let digits: String = start.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
        let post = |name: &str| {
            let id = format!("{name}-{}", digits.get(8..).unwrap_or_default());
            PostId::new(&id).map_err(|e| Error::fatal(format!("{id} {e}")))
        };
        Ok(Chapter { start, photo: post("your-photo")?, promoted: post("promoted")? })
    }

    /// What has happened before, oldest first.
    fn past(&self, of_everything: bool) -> Result<Vec<NewRecord>> {
        let begun = self.start.saturating_sub(PAST);
        let post = |name: &str| PostId::new(name).map_err(|e| Error::fatal(format!("{name} {e}")));
        // Of an earlier directory the past is there already.
        let (rate, hit_rate) = if of_everything { (1.0, 1.5) } else { (0.001, 0.001) };
        let flat = |post, start, rate, lasts| Viral {
            post,
            start,
            first_rate: rate,
            doubling: lasts,
            peak_rate: rate,
            plateau: lasts,
            halving: lasts,
        };
        let hit = flat(post("last-hours-hit")?, PAST / 2, hit_rate, PAST / 6);
        // The second of its kind, so that it is liked by other users than in the chapter.
        let usual = flat(self.promoted.clone(), PAST - USUAL, USUAL_RATE, USUAL);
        let config = self.usual().start(begun).duration(PAST).rate(rate).viral(vec![hit, usual]);
        let published = self.start.saturating_sub(USUAL);
        let post = published_post("shop", &self.promoted, published);
        let items = config.traffic().map(|item| (item.time, item.record()));
        let mut items: Vec<_> = items.chain([(published, post)]).collect();
        items.sort_by_key(|(time, _)| *time);
        Ok(items.into_iter().map(|(_, record)| record).collect())
    }

    /// What happens, each with its time.
    fn items(&self) -> Result<impl Iterator<Item = (Timestamp, NewRecord)> + use<>> {
        let seconds = Duration::from_secs;
        let viral = Viral {
            post: self.photo.clone(),
            start: seconds(1),
            first_rate: 1.0,
            doubling: seconds(6),
            peak_rate: 32.0,
            plateau: seconds(30),
            halving: seconds(20),
        };
        let farm =
            Farm { factor: 20.0, duration: seconds(40), ..Farm::new(self.promoted.clone(), seconds(25)) };
        let config = self
            .usual()
            .start(self.start)
            .duration(CHAPTER)
            .rate(20.0)
            .steady(vec![Steady { post: self.promoted.clone(), rate: USUAL_RATE }])
            .viral(vec![viral])
            .farms(vec![farm]);
        let photo = published_post(USER, &self.photo, self.start);
        let items = config.traffic().map(|item| (item.time, item.record()));
        Ok(std::iter::once((self.start, photo)).chain(items))
    }

    /// What past and present have in common.
    fn usual(&self) -> TrafficOptions {
        TrafficOptions::default()
            .seed(self.start.as_millis().unsigned_abs())
            .count(u64::MAX)
            .users(100_000)
            .posts(200)
            .malformed(0.0)
            .without_id(0.0)
    }
}

fn published_post(author: &str, post: &PostId, time: Timestamp) -> NewRecord {
    let id = feedkit_core::EventId::new(time);
    let line = format!(
        "{{\"id\":\"{id}\",\"userId\":\"{author}\",\"postId\":\"{post}\",\"type\":\"post\",\"timestamp\":\"{time}\"}}"
    );
    NewRecord::keyed(author, Bytes::from(line))
}

#[cfg(test)]
mod tests;
