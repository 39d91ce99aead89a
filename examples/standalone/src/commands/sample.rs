//! `sample`: made-up events to try feedkit on.

use std::io::{BufWriter, Write};
use std::process::ExitCode;
use std::time::Duration;

use feedkit_core::traffic::{Farm, Steady, TrafficOptions, Viral};
use feedkit_core::{Error, PostId, Result};

use crate::cli;

/// Prints the events of some made-up hours, four with the default count: ordinary traffic, a viral
/// post, and a post whose likes are bought.
pub fn sample(args: &cli::Sample) -> Result<ExitCode> {
    let name = |text: &str| PostId::new(text).map_err(|e| Error::fatal(format!("{text} {e}")));
    let hours = |n: f64| Duration::from_secs_f64(3600.0 * n);
    // The bursts have a fixed size; ordinary traffic fills up the number.
    let config = TrafficOptions::default()
        .seed(args.seed)
        .users(2_000)
        .posts(500)
        .rate(0.3)
        .malformed(0.001)
        .steady(vec![Steady { post: name("promoted")?, rate: 0.3 }])
        .viral(vec![Viral::new(name("viral")?, hours(1.0), 0.5)])
        .farms(vec![Farm::new(name("promoted")?, hours(2.0))]);
    let mut out = BufWriter::new(std::io::stdout().lock());
    // The authors of the two posts are notified of milestones.
    let published = ["viral", "promoted"].map(|post| {
        let (user, time) = (format!("author-of-{post}"), config.start);
        format!("{{\"userId\":\"{user}\",\"postId\":\"{post}\",\"type\":\"post\",\"timestamp\":\"{time}\"}}")
    });
    let made_up = config.count(args.count.saturating_sub(2)).traffic();
    let lines = published.into_iter().map(Into::into).chain(made_up.map(|item| item.value));
    for line in lines.take(usize::try_from(args.count).unwrap_or(usize::MAX)) {
        let written = out.write_all(&line).and_then(|()| out.write_all(b"\n"));
        if let Err(error) = written {
            return quiet(error);
        }
    }
    out.flush().map_or_else(quiet, |()| Ok(ExitCode::SUCCESS))
}

/// A reader that has gone away (`| head`) is not an error.
fn quiet(error: std::io::Error) -> Result<ExitCode> {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        _ => Err(Error::fatal(format!("cannot write to standard output: {error}"))),
    }
}
