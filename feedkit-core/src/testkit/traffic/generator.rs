use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::TrafficConfig;
use super::arrivals::{Origin, Rates, Span, next_arrival};
use super::line::{self, Draft};
use crate::sink::NewRecord;
use crate::{EventId, Timestamp};

/// How many earlier events a repeat or an unlike is drawn from.
const REMEMBERED: usize = 4096;

/// Items in the order of their times; the same configuration gives the same bytes on the same platform.
///
/// Each of the base traffic, the steady posts, the viral ones and the farms has its own random numbers: adding a
/// farm changes nothing else.
#[derive(Debug)]
pub struct Traffic {
    config: TrafficConfig,
    /// Sums of the Zipf weights of the posts up to each.
    zipf: Vec<f64>,
    streams: Vec<Stream>,
    /// Whether somebody has acted on the post before.
    touched: Vec<bool>,
    earlier: Vec<Draft>,
    liked: Vec<(String, String)>,
    made: u64,
}

/// One line of traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficItem {
    /// The key of its record: the user, also where the line is malformed.
    pub key: String,
    /// The line in wire form, without a newline.
    pub value: Bytes,
    /// When it is sent; a malformed line's own time may differ, as may a repeat's.
    pub time: Timestamp,
    /// Why it is there.
    pub label: Label,
}

impl TrafficItem {
    /// The record to send.
    pub fn record(&self) -> NewRecord {
        NewRecord::keyed(&self.key, self.value.clone())
    }
}

/// Why an item is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Label {
    /// Ordinary traffic.
    Ordinary,
    /// Id and user of an earlier item.
    Repeat,
    /// No event.
    Malformed,
    /// A like of a post that goes viral.
    Viral,
    /// A like by an account of a farm.
    Farm {
        /// Which: its index in [`TrafficConfig::farms`].
        episode: usize,
    },
}

#[derive(Debug)]
struct Stream {
    origin: Origin,
    rng: ChaCha8Rng,
    /// Seconds since the start; `None` when the stream has ended.
    next: Option<f64>,
    /// How many items it has given.
    given: u64,
}

impl Traffic {
    /// The traffic of this configuration, from its beginning.
    pub fn new(config: TrafficConfig) -> Self {
        let mut total = 0.0;
        let weight = |k: u32| (f64::from(k) + 1.0).powf(-config.zipf);
        let zipf: Vec<f64> = (0..config.posts.max(1))
            .map(|k| {
                total += weight(k);
                total
            })
            .collect();
        let origins = std::iter::once(Origin::Base)
            .chain((0..config.steady.len()).map(Origin::Steady))
            .chain((0..config.viral.len()).map(Origin::Viral))
            .chain((0..config.farms.len()).map(Origin::Farm));
        let touched = vec![false; zipf.len()];
        let mut traffic = Traffic {
            streams: origins.map(|o| Stream::new(config.seed, o)).collect(),
            config,
            zipf,
            touched,
            earlier: Vec::new(),
            liked: Vec::new(),
            made: 0,
        };
        for i in 0..traffic.streams.len() {
            traffic.schedule(i, 0.0);
        }
        traffic
    }

    fn schedule(&mut self, stream: usize, after: f64) {
        let rates = Rates { config: &self.config, zipf_total: self.zipf[self.zipf.len() - 1] };
        let stream = &mut self.streams[stream];
        let span: Span = rates.span(stream.origin);
        stream.next = next_arrival(&mut stream.rng, after, &span, |t| rates.at(stream.origin, t));
    }

    /// An item of the base traffic.
    fn base(&mut self, time: Timestamp) -> (Draft, Label) {
        let c = &self.config;
        let rng = &mut self.streams[0].rng;
        let (repeated, broken) = (rng.random::<f64>() < c.repeats, rng.random::<f64>() < c.malformed);
        if broken {
            let (user, rank) = (rng.random_range(0..c.users.max(1)), rng.random_range(0..self.zipf.len()));
            let draft = self.draft(0, time, format!("u{user}"), format!("p{rank}"), "like", None);
            return (draft, Label::Malformed);
        }
        if repeated && !self.earlier.is_empty() {
            return (self.repeat(), Label::Repeat);
        }
        let draft = self.ordinary(time);
        let rng = &mut self.streams[0].rng;
        if draft.kind == "like" {
            remember(rng, &mut self.liked, (draft.user.clone(), draft.post.clone()));
        }
        if draft.id.is_some() {
            remember(rng, &mut self.earlier, draft.clone());
        }
        (draft, Label::Ordinary)
    }

    fn repeat(&mut self) -> Draft {
        let rng = &mut self.streams[0].rng;
        let mut draft = self.earlier[rng.random_range(0..self.earlier.len())].clone();
        if rng.random_range(0..4) == 0 {
            draft.post = format!("p{}", rng.random_range(0..self.zipf.len()));
            (draft.kind, draft.text) = ("like", None);
        }
        draft
    }

    fn ordinary(&mut self, time: Timestamp) -> Draft {
        let (seed, users) = (self.config.seed, self.config.users.max(1));
        let rng = &mut self.streams[0].rng;
        let rank = zipf_rank(&self.zipf, rng.random());
        let mut user = rng.random_range(0..users);
        let mut kind = kind_of(&self.config, rng.random());
        let published = unit_hash(seed, rank as u64) >= self.config.unpublished;
        let first = !std::mem::replace(&mut self.touched[rank], true);
        if first && published {
            kind = "post";
            user = (unit_hash(!seed, rank as u64) * f64::from(users)) as u32;
        } else if kind == "post" && !published {
            kind = "comment";
        }
        let (mut user, mut post) = (format!("u{user}"), format!("p{rank}"));
        if kind == "unlike" && !self.liked.is_empty() && rng.random_range(0..8) != 0 {
            (user, post) = self.liked.swap_remove(rng.random_range(0..self.liked.len()));
        }
        let text = matches!(kind, "post" | "comment").then(|| line::text(rng));
        self.draft(0, time, user, post, kind, text)
    }

    /// A like by a user who comes up once only.
    fn like_by_another(&mut self, stream: usize, post: String, time: Timestamp) -> Draft {
        let (given, users) = (self.streams[stream].given, u64::from(self.config.users.max(1)));
        let user = match given < users {
            // Each user once, in an order that looks like none.
            true => format!("u{}", (given * coprime(users) + stream as u64 * 7919) % users),
            false => format!("x{stream}-{given}"),
        };
        self.draft(stream, time, user, post, "like", None)
    }

    fn farmed(&mut self, stream: usize, episode: usize, time: Timestamp) -> Draft {
        let farm = &self.config.farms[episode];
        let accounts = u64::from(farm.accounts.max(1));
        let given = self.streams[stream].given;
        let user =
            format!("farm-{}", (given % accounts * coprime(accounts) + episode as u64 * 7919) % accounts);
        let kind = if (given / accounts).is_multiple_of(2) { "like" } else { "unlike" };
        let post = farm.post.to_string();
        self.draft(stream, time, user, post, kind, None)
    }

    fn draft(
        &mut self,
        stream: usize,
        time: Timestamp,
        user: String,
        post: String,
        kind: &'static str,
        text: Option<String>,
    ) -> Draft {
        let rng = &mut self.streams[stream].rng;
        let id = EventId::derived(time, rng.random());
        let id = (rng.random::<f64>() >= self.config.without_id).then_some(id);
        let time = (rng.random::<f64>() >= self.config.without_time).then_some(time);
        Draft { id, user, post, kind, time, text }
    }
}

impl Iterator for Traffic {
    type Item = TrafficItem;

    fn next(&mut self) -> Option<TrafficItem> {
        if self.made >= self.config.count {
            return None;
        }
        let due = |s: &Stream| s.next.unwrap_or(f64::INFINITY);
        let stream = (0..self.streams.len())
            .min_by(|a, b| due(&self.streams[*a]).total_cmp(&due(&self.streams[*b])))?;
        let t = self.streams[stream].next?;
        if self.config.duration.is_some_and(|d| t >= d.as_secs_f64()) {
            return None;
        }
        let time = Timestamp::from_millis(self.config.start.as_millis() + (t * 1000.0) as i64);
        let (draft, label) = match self.streams[stream].origin {
            Origin::Base => self.base(time),
            Origin::Steady(i) => {
                let post = self.config.steady[i].post.to_string();
                (self.like_by_another(stream, post, time), Label::Ordinary)
            }
            Origin::Viral(i) => {
                let post = self.config.viral[i].post.to_string();
                (self.like_by_another(stream, post, time), Label::Viral)
            }
            Origin::Farm(i) => (self.farmed(stream, i, time), Label::Farm { episode: i }),
        };
        let value = match label {
            Label::Malformed => line::malformed(&mut self.streams[stream].rng, &draft),
            _ => draft.line().into_bytes().into(),
        };
        self.streams[stream].given += 1;
        self.made += 1;
        self.schedule(stream, t);
        Some(TrafficItem { key: draft.user, value, time, label })
    }
}

impl Stream {
    fn new(seed: u64, origin: Origin) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(match origin {
            Origin::Base => 0,
            Origin::Steady(i) => 1 + 3 * i as u64,
            Origin::Viral(i) => 2 + 3 * i as u64,
            Origin::Farm(i) => 3 + 3 * i as u64,
        });
        Stream { origin, rng, next: None, given: 0 }
    }
}

fn kind_of(c: &TrafficConfig, uniform: f64) -> &'static str {
    match uniform {
        x if x < c.likes => "like",
        x if x < c.likes + c.unlikes => "unlike",
        x if x < c.likes + c.unlikes + c.comments => "comment",
        _ => "post",
    }
}

/// The rank that a uniform number picks.
fn zipf_rank(sums: &[f64], uniform: f64) -> usize {
    let wanted = uniform * sums[sums.len() - 1];
    sums.partition_point(|sum| *sum <= wanted).min(sums.len() - 1)
}

/// A number in `0..1` that follows from two others.
fn unit_hash(seed: u64, n: u64) -> f64 {
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(&n.to_le_bytes(), seed);
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// Keeps a bounded number, the newcomer in a random place when full.
fn remember<T>(rng: &mut ChaCha8Rng, list: &mut Vec<T>, item: T) {
    match list.len() < REMEMBERED {
        true => list.push(item),
        false => list[rng.random_range(0..REMEMBERED)] = item,
    }
}

/// A number with no divisor in common with `n`, near its golden section.
fn coprime(n: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let mut candidate = (n as f64 * 0.618) as u64 + 1;
    while gcd(candidate, n) != 1 {
        candidate += 1;
    }
    candidate
}
