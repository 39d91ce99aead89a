//! Load from many connections. Each sends its next request as soon as the last one is answered.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::token::Tokens;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What to send, and how.
#[derive(Debug, Clone)]
pub struct Load {
    pub address: SocketAddr,
    pub connections: usize,
    pub duration: Duration,
    /// How long requests are sent before the measurement begins.
    pub warm_up: Duration,
    pub kind: Kind,
}

/// One request.
#[derive(Debug, Clone)]
pub enum Kind {
    /// `POST /api/events` with one event.
    Single,
    /// `POST /api/events/batch` with this number of events.
    Batch(usize),
    /// `GET` of this path. `{}` is replaced by a post's id.
    Read(String),
}

/// The answers to a load.
pub struct Answers {
    pub statuses: BTreeMap<u16, u64>,
    /// Microseconds from the first byte sent to the last byte received, for answers with a status
    /// below 300.
    pub latency: Histogram<u64>,
    pub seconds: f64,
}

/// Runs the load.
pub async fn run(load: Load, tokens: &Tokens) -> Result<Answers, Box<dyn std::error::Error>> {
    let begins = Instant::now() + load.warm_up;
    let mut tasks = JoinSet::new();
    for number in 0..load.connections {
        let token = tokens.of(&format!("u{number}"))?;
        tasks.spawn(connection(load.clone(), number, token, begins));
    }
    let mut all =
        Answers { statuses: BTreeMap::new(), latency: histogram(), seconds: load.duration.as_secs_f64() };
    while let Some(ended) = tasks.join_next().await {
        let (statuses, latency) = ended?.map_err(|e| -> Box<dyn std::error::Error> { e })?;
        for (status, count) in statuses {
            *all.statuses.entry(status).or_default() += count;
        }
        all.latency.add(latency)?;
    }
    Ok(all)
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are valid")
}

async fn connection(
    load: Load,
    number: usize,
    token: String,
    begins: Instant,
) -> Fallible<(BTreeMap<u16, u64>, Histogram<u64>)> {
    let (mut statuses, mut latency) = (BTreeMap::new(), histogram());
    let mut stream = TcpStream::connect(load.address).await?;
    stream.set_nodelay(true)?;
    let mut rng = ChaCha8Rng::seed_from_u64(number as u64);
    let ends = begins + load.duration;
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    loop {
        write_request(&mut request, &load, number, &token, &mut rng);
        let sent = Instant::now();
        if sent >= ends {
            return Ok((statuses, latency));
        }
        stream.write_all(&request).await?;
        let status = read_answer(&mut stream, &mut answer).await?;
        let now = Instant::now();
        if sent >= begins && now < ends {
            *statuses.entry(status).or_insert(0) += 1;
            if status < 300 {
                latency.saturating_record((now - sent).as_micros() as u64);
            }
        }
    }
}

fn write_request(into: &mut Vec<u8>, load: &Load, user: usize, token: &str, rng: &mut ChaCha8Rng) {
    use std::io::Write;
    // Half of the requests are for a few hundred posts.
    let mut post = || (rng.random::<f64>().powi(4) * 50_000.0) as u32;
    let mut body = Vec::new();
    let (method, path) = match &load.kind {
        Kind::Single => {
            let _ = write!(body, r#"{{"userId":"u{user}","postId":"p{}","type":"like"}}"#, post());
            ("POST", "/api/events".to_owned())
        }
        Kind::Batch(count) => {
            body.push(b'[');
            for i in 0..*count {
                let comma = if i == 0 { "" } else { "," };
                let _ = write!(
                    body,
                    r#"{comma}{{"userId":"u{}","postId":"p{}","type":"like"}}"#,
                    user * 1000 + i,
                    post()
                );
            }
            body.push(b']');
            ("POST", "/api/events/batch".to_owned())
        }
        Kind::Read(path) => ("GET", path.replace("{}", &format!("p{}", post()))),
    };
    into.clear();
    let _ = write!(
        into,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    into.extend_from_slice(&body);
}

/// Reads one answer to its end, and returns its status. The answer must have a `content-length`.
async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Fallible<u16> {
    buffer.clear();
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err("the server closed a connection".into());
        }
    };
    let text = std::str::from_utf8(&buffer[..head])?;
    let status = text.get(9..12).ok_or("an answer has no status")?.parse()?;
    let length = text
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        })
        .ok_or("an answer has no content-length")?;
    while buffer.len() < head + length {
        if stream.read_buf(buffer).await? == 0 {
            return Err("the server closed a connection".into());
        }
    }
    Ok(status)
}

impl Answers {
    /// Answers a second with a status below 300.
    pub fn per_second(&self) -> f64 {
        self.latency.len() as f64 / self.seconds
    }

    /// Prints the figures in one line.
    pub fn print(&self, what: &str) {
        let ms = |q| self.latency.value_at_quantile(q) as f64 / 1000.0;
        println!(
            "{what}: {:.0}/s, p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, statuses {:?}",
            self.per_second(),
            ms(0.5),
            ms(0.99),
            ms(0.999),
            self.statuses
        );
    }
}
