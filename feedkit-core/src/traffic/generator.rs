//! The generator: which item comes next, and what it contains.

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::TrafficOptions;
use super::arrivals::{Origin, Rates, Span, next_arrival};
use super::line::{self, Draft};
use crate::sink::NewRecord;
use crate::{EventId, Timestamp};

/// How many earlier events a repeat or an unlike is drawn from.
const REMEMBERED: usize = 4096;

/// An iterator over items, in the order of their times. The same options give the same bytes on the
/// same platform.
///
/// The base traffic, each steady post, each viral post and each farm have separate random numbers.
/// Adding a farm therefore changes no other item.
#[derive(Debug)]
pub struct Traffic {
    options: TrafficOptions,
    /// For each post, the sum of the Zipf weights up to it.
    zipf: Vec<f64>,
    streams: Vec<Stream>,
    /// Whether an event has referred to the post before.
    touched: Vec<bool>,
    earlier: Vec<Draft>,
    liked: Vec<(String, String)>,
    made: u64,
}

impl TrafficOptions {
    /// Starts the traffic from its beginning.
    pub fn traffic(&self) -> Traffic {
        Traffic::new(self.clone())
    }
}

/// One line of traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficItem {
    /// The key of its record: the user, even if the line is malformed.
    pub key: String,
    /// The line in wire form, without a newline.
    pub value: Bytes,
    /// When to send it. The line of a repeat or of a malformed item may contain another time.
    pub time: Timestamp,
    /// Why the generator made it.
    pub label: Label,
}

impl TrafficItem {
    /// The record to send.
    pub fn record(&self) -> NewRecord {
        NewRecord::keyed(&self.key, self.value.clone())
    }
}

/// Why the generator made an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Label {
    /// Ordinary traffic.
    Ordinary,
    /// A repeat, with the id and the user of an earlier item.
    Repeat,
    /// Not a valid event.
    Malformed,
    /// A like of a post that goes viral.
    Viral,
    /// A like by an account of a farm.
    Farm {
        /// The farm's index in `TrafficOptions::farms`.
        episode: usize,
    },
}

#[derive(Debug)]
struct Stream {
    origin: Origin,
    rng: ChaCha8Rng,
    /// Seconds since the start; `None` when the stream has ended.
    next: Option<f64>,
    /// How many items it has produced.
    given: u64,
}

impl Traffic {
    /// Starts the traffic of these options from its beginning.
    pub fn new(options: TrafficOptions) -> Self {
        let mut total = 0.0;
        let weight = |k: u32| (f64::from(k) + 1.0).powf(-options.zipf);
        let zipf: Vec<f64> = (0..options.posts.max(1))
            .map(|k| {
                total += weight(k);
                total
            })
            .collect();
        let origins = std::iter::once(Origin::Base)
            .chain((0..options.steady.len()).map(Origin::Steady))
            .chain((0..options.viral.len()).map(Origin::Viral))
            .chain((0..options.farms.len()).map(Origin::Farm));
        let touched = vec![false; zipf.len()];
        let mut traffic = Traffic {
            streams: origins.map(|o| Stream::new(options.seed, o)).collect(),
            options,
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
        let rates = Rates { options: &self.options, zipf_total: self.zipf[self.zipf.len() - 1] };
        let stream = &mut self.streams[stream];
        let span: Span = rates.span(stream.origin);
        stream.next = next_arrival(&mut stream.rng, after, &span, |t| rates.at(stream.origin, t));
    }

    /// An item of the base traffic.
    fn base(&mut self, time: Timestamp) -> (Draft, Label) {
        let o = &self.options;
        let rng = &mut self.streams[0].rng;
        let (repeated, broken) = (rng.random::<f64>() < o.repeats, rng.random::<f64>() < o.malformed);
        if broken {
            let (user, rank) = (rng.random_range(0..o.users.max(1)), rng.random_range(0..self.zipf.len()));
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
        let (seed, users) = (self.options.seed, self.options.users.max(1));
        let rng = &mut self.streams[0].rng;
        let rank = zipf_rank(&self.zipf, rng.random());
        let mut user = rng.random_range(0..users);
        let mut kind = kind_of(&self.options, rng.random());
        let published = unit_hash(seed, rank as u64) >= self.options.unpublished;
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

    /// A like by a user who occurs only once in this stream.
    fn like_by_another(&mut self, stream: usize, post: String, time: Timestamp) -> Draft {
        let (given, users) = (self.streams[stream].given, u64::from(self.options.users.max(1)));
        let user = match given < users {
            // Each user once, in an order without a visible pattern.
            true => format!("u{}", (given * coprime(users) + stream as u64 * 7919) % users),
            false => format!("x{stream}-{given}"),
        };
        self.draft(stream, time, user, post, "like", None)
    }

    fn farmed(&mut self, stream: usize, episode: usize, time: Timestamp) -> Draft {
        let farm = &self.options.farms[episode];
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
        let id = (rng.random::<f64>() >= self.options.without_id).then_some(id);
        let time = (rng.random::<f64>() >= self.options.without_time).then_some(time);
        Draft { id, user, post, kind, time, text }
    }
}

impl Iterator for Traffic {
    type Item = TrafficItem;

    fn next(&mut self) -> Option<TrafficItem> {
        if self.made >= self.options.count {
            return None;
        }
        let due = |s: &Stream| s.next.unwrap_or(f64::INFINITY);
        let stream = (0..self.streams.len())
            .min_by(|a, b| due(&self.streams[*a]).total_cmp(&due(&self.streams[*b])))?;
        let t = self.streams[stream].next?;
        if self.options.duration.is_some_and(|d| t >= d.as_secs_f64()) {
            return None;
        }
        let time = Timestamp::from_millis(self.options.start.as_millis() + (t * 1000.0) as i64);
        let (draft, label) = match self.streams[stream].origin {
            Origin::Base => self.base(time),
            Origin::Steady(i) => {
                let post = self.options.steady[i].post.to_string();
                (self.like_by_another(stream, post, time), Label::Ordinary)
            }
            Origin::Viral(i) => {
                let post = self.options.viral[i].post.to_string();
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

fn kind_of(o: &TrafficOptions, uniform: f64) -> &'static str {
    match uniform {
        x if x < o.likes => "like",
        x if x < o.likes + o.unlikes => "unlike",
        x if x < o.likes + o.unlikes + o.comments => "comment",
        _ => "post",
    }
}

/// The rank that a uniform random number selects.
fn zipf_rank(sums: &[f64], uniform: f64) -> usize {
    let wanted = uniform * sums[sums.len() - 1];
    sums.partition_point(|sum| *sum <= wanted).min(sums.len() - 1)
}

/// A hash of two numbers, as a number in `0..1`.
fn unit_hash(seed: u64, n: u64) -> f64 {
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(&n.to_le_bytes(), seed);
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// Adds an item to a bounded list. In a full list it replaces a random item.
fn remember<T>(rng: &mut ChaCha8Rng, list: &mut Vec<T>, item: T) {
    match list.len() < REMEMBERED {
        true => list.push(item),
        false => list[rng.random_range(0..REMEMBERED)] = item,
    }
}

/// A number near `0.618 n` that has no divisor in common with `n`.
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
