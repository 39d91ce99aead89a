// Buckets of activity, made complete: the gateway leaves out the empty ones.

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;

/** The bounds of the last `slots` hours or days, the present one included: `{from, to}`, in milliseconds, UTC. */
export function bounds(by, slots, now) {
  const span = by === 'day' ? DAY : HOUR;
  const to = Math.floor(now / span) * span + span;
  return { from: to - slots * span, to };
}

/** A bucket for each hour or day between the bounds: `{start, counts}`, oldest first. */
export function filled(buckets, by, { from, to }) {
  const span = by === 'day' ? DAY : HOUR;
  const known = new Map(buckets.map((bucket) => [Date.parse(bucket.start), bucket.counts]));
  const all = [];
  for (let start = from; start < to; start += span) all.push({ start, counts: known.get(start) ?? {} });
  return all;
}

const ORDER = ['like', 'comment', 'post'];

/** The kinds that occur, the well-known ones first. */
export function kinds(buckets) {
  const found = new Set(buckets.flatMap(({ counts }) => Object.keys(counts).filter((kind) => counts[kind])));
  const rank = (kind) => (ORDER.includes(kind) ? ORDER.indexOf(kind) : ORDER.length);
  return [...found].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}
