//! `serve --demo`: made-up traffic in real time.
//!
//! It plays chapters of ten minutes. In each chapter, a post of the page's user goes viral at once,
//! and a like farm likes another post: within a minute there are milestones for the user and a
//! FRAUD for moderators. Each event has the time at which it is sent. The rules must first learn
//! the usual rate of the farmed post, so its past is sent first, with earlier times.

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

/// The default directory of the demo.
pub const DIRECTORY: &str = "feedkit-demo";

/// The file that marks a directory as the demo's.
const MARK: &str = "demo";

const CHAPTER: Duration = Duration::from_secs(600);
/// How far back the made-up past of a new directory goes.
const PAST: Duration = Duration::from_secs(3 * 3600);
/// How long the farmed post is liked before a chapter begins: longer than the rule's warm-up.
const USUAL: Duration = Duration::from_secs(600);
/// The usual likes per second of the farmed post.
const USUAL_RATE: f64 = 0.3;
/// Maximum records sent at once.
const BATCH: usize = 1000;
/// Events that are due within this time are sent together.
const TICK: Duration = Duration::from_millis(50);
/// If the demo is further behind than this (the machine slept), a new chapter begins.
const BEHIND: Duration = Duration::from_secs(10);

/// Refuses a directory with events that are not the demo's.
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
            "{} contains {n} events that are not the demo's, and made-up events must not be mixed with them: leave \
             out --data, or name a new directory",
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
    /// Whether the directory has no events of a demo yet.
    is_new: bool,
}

impl Demo {
    /// Marks the directory as the demo's.
    pub fn new(data: &Path, sink: SqliteSink) -> Result<Self> {
        let (mark, text) =
            (mark(data), "The data in this directory was made up by `feedkit serve --demo`.\n");
        let is_new = !mark.exists();
        std::fs::write(&mark, text).map_err(|e| Error::fatal(format!("{}: {e}", mark.display())))?;
        Ok(Demo { sink, is_new })
    }

    /// Plays until `stop` is cancelled.
    ///
    /// # Errors
    ///
    /// If the log no longer accepts events.
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

    /// Sends the events of a chapter when they are due.
    async fn perform(&self, chapter: &Chapter, stop: &CancellationToken) -> Result<()> {
        let mut items = chapter.items()?.peekable();
        while let Some((due, _)) = items.peek() {
            let now = SystemClock.now();
            if now.since(*due) > BEHIND {
                tracing::info!("the demo is more than {BEHIND:?} behind, and starts a new chapter");
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

    /// Sends until the log has accepted all. All have ids, so it is safe to send one again.
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
    /// The post of the page's user. It goes viral.
    photo: PostId,
    /// The post whose likes are bought.
    promoted: PostId,
}

impl Chapter {
    /// Each chapter has new posts: on an old post most likes would be repeats.
    fn new(start: Timestamp) -> Result<Self> {
        let digits: String = start.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
        let post = |name: &str| {
            let id = format!("{name}-{}", digits.get(8..).unwrap_or_default());
            PostId::new(&id).map_err(|e| Error::fatal(format!("{id} {e}")))
        };
        Ok(Chapter { start, photo: post("your-photo")?, promoted: post("promoted")? })
    }

    /// The events before the chapter, oldest first.
    fn past(&self, of_everything: bool) -> Result<Vec<NewRecord>> {
        let begun = self.start.saturating_sub(PAST);
        let post = |name: &str| PostId::new(name).map_err(|e| Error::fatal(format!("{name} {e}")));
        // An earlier run in this directory has already sent the past.
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
        // The second post of its kind, so that other users like it than in the chapter.
        let usual = flat(self.promoted.clone(), PAST - USUAL, USUAL_RATE, USUAL);
        let config = self.usual().start(begun).duration(PAST).rate(rate).viral(vec![hit, usual]);
        let published = self.start.saturating_sub(USUAL);
        let post = published_post("shop", &self.promoted, published);
        let items = config.traffic().map(|item| (item.time, item.record()));
        let mut items: Vec<_> = items.chain([(published, post)]).collect();
        items.sort_by_key(|(time, _)| *time);
        Ok(items.into_iter().map(|(_, record)| record).collect())
    }

    /// The events of the chapter, each with its time.
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

    /// The options that past and present share.
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
