//! Commands that only read. They also work while another process writes.

use std::process::ExitCode;

use feedkit_core::queries::{Activity, Bucket, Comment, PostView};
use feedkit_core::{Alerts, Clock, Inspect, Queries, Result, SystemClock, Timestamp};
use feedkit_store::sqlite::{Sqlite, SqliteOptions};
use serde::Serialize;

use crate::cli::{self, By};
use crate::config::Config;
use feedkit_server::output;

async fn open(config: &Config) -> Result<Sqlite> {
    Sqlite::open_read_only(&config.data, SqliteOptions::default()).await
}

/// Lists the most liked posts, or the trending ones.
pub async fn top(args: &cli::Top, config: &Config) -> Result<ExitCode> {
    let history = open(config).await?.history();
    let posts = match args.by {
        By::Likes => history.top(None, args.count).await?,
        By::Trending => history.trending(SystemClock.now(), args.count).await?,
    };
    if args.json {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Row<'a> {
            post_id: &'a feedkit_core::PostId,
            likes: i64,
            #[serde(skip_serializing_if = "Option::is_none")]
            score: Option<f64>,
        }
        let scored = args.by == By::Trending;
        let rows: Vec<_> = posts
            .iter()
            .map(|p| Row { post_id: &p.post_id, likes: p.likes, score: scored.then_some(p.score) })
            .collect();
        output::json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = match args.by {
        By::Likes => output::table(&["", "post", "likes"]),
        By::Trending => output::table(&["", "post", "likes", "score"]),
    };
    for (i, post) in posts.iter().enumerate() {
        let mut row = vec![(i + 1).to_string(), post.post_id.to_string(), post.likes.to_string()];
        if args.by == By::Trending {
            row.push(format!("{:.3e}", post.score));
        }
        table.add_row(row);
    }
    output::line(&table)?;
    Ok(ExitCode::SUCCESS)
}

/// Comments shown with a post.
const COMMENTS: usize = 10;

/// One post.
pub async fn post(args: &cli::Post, config: &Config) -> Result<ExitCode> {
    let history = open(config).await?.history();
    let Some(view) = history.post(&args.id).await? else {
        eprintln!("feedkit: post {} is unknown", args.id);
        return Ok(ExitCode::FAILURE);
    };
    let activity = history.activity(&args.id, Bucket::Day, Timestamp::EPOCH, Timestamp::MAX).await?;
    let comments = history.comments(&args.id, None, COMMENTS).await?;
    if args.json {
        #[derive(Serialize)]
        struct Post<'a> {
            #[serde(flatten)]
            view: &'a PostView,
            activity: &'a [Activity],
            #[serde(rename = "newestComments")]
            newest_comments: &'a [Comment],
        }
        output::json(&Post { view: &view, activity: &activity, newest_comments: &comments })?;
        return Ok(ExitCode::SUCCESS);
    }
    let author = view.author.as_ref().map_or("unknown".to_owned(), ToString::to_string);
    output::line(&format!("{} by {author}: {}", view.post_id, counts(&view.counts)))?;
    let mut table = output::table(&["day", "net counts"]);
    for bucket in &activity {
        table.add_row([bucket.start.to_string()[..10].to_owned(), counts(&bucket.counts)]);
    }
    output::line(&table)?;
    if !comments.is_empty() {
        let mut table = output::table(&["commented", "user", "text"]);
        for comment in &comments {
            let text = comment.text.clone().unwrap_or_default();
            table.add_row([comment.timestamp.to_string(), comment.user_id.to_string(), printable(&text)]);
        }
        output::line(&table)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn counts(counts: &std::collections::BTreeMap<String, i64>) -> String {
    if counts.is_empty() {
        return "nothing".to_owned();
    }
    counts.iter().map(|(kind, n)| format!("{n} {kind}")).collect::<Vec<_>>().join(", ")
}

/// Lists what the rules raised.
pub async fn alerts(args: &cli::Listing, config: &Config) -> Result<ExitCode> {
    let alerts = open(config).await?.alert_log().alerts(None, args.count).await?;
    let alerts: Vec<_> = alerts.into_iter().map(|(_, alert)| alert).collect();
    if args.json {
        output::json(&alerts)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(&["when", "type", "for", "what"]);
    for alert in &alerts {
        let audience = alert.audience.key();
        table.add_row([&alert.occurred_at.to_string(), &alert.kind, &audience, &alert.title]);
    }
    output::line(&table)?;
    Ok(ExitCode::SUCCESS)
}

/// Lists records that were not valid events.
pub async fn rejected(args: &cli::Listing, config: &Config) -> Result<ExitCode> {
    let records = open(config).await?.history().rejected(None, args.count).await?;
    if args.json {
        output::json(&records)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(&["position", "reason", "what is wrong", "record"]);
    for record in &records {
        let wrong = match &record.field {
            Some(field) => format!("{field} {}", record.detail),
            None => record.detail.clone(),
        };
        let shown: String = record.value.chars().take(120).collect();
        let place = format!("{}:{}", record.partition, record.offset);
        table.add_row([place, record.reason.clone(), printable(&wrong), printable(&shown)]);
    }
    output::line(&table)?;
    Ok(ExitCode::SUCCESS)
}

/// Text from strangers must not control the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
