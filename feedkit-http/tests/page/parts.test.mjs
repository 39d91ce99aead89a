// The page's parts that need no page.

import assert from 'node:assert/strict';
import test from 'node:test';

import { eventOf, positionOf, send } from '../../src/page/assets/actions.js';
import { Api, ApiError, told } from '../../src/page/assets/api.js';
import { labelled, layout, scale, sparkline, summary } from '../../src/page/assets/chart.js';
import * as format from '../../src/page/assets/format.js';
import { sum } from '../../src/page/assets/metrics.js';
import { Poll } from '../../src/page/assets/poll.js';
import { Ranking } from '../../src/page/assets/ranking.js';
import { Pace, Ring } from '../../src/page/assets/ring.js';
import { DAY, HOUR, bounds, filled, kinds } from '../../src/page/assets/series.js';
import { claims, cleaned, inFragment, keep, take } from '../../src/page/assets/token.js';
import { uuid7 } from '../../src/page/assets/uuid7.js';
import { Time } from './fakes.mjs';

test('numbers are short where there is little room', () => {
  assert.deepEqual([0, 999, 9999, 12_345, 123_456, 1_234_567, 12_000_000, 2e9, -12_345, NaN].map(format.short),
    ['0', '999', '9,999', '12.3k', '123k', '1.2M', '12M', '2G', '-12.3k', '–']);
  assert.equal(format.count(1_234_567), '1,234,567');
  assert.equal(format.count(undefined), '–');
  assert.deepEqual([0, 0.041, 0.5, 3.27, 40, 412.6, NaN].map(format.rate), ['0', '0.04', '0.5', '3.3', '40', '413', '–']);
  assert.equal(format.plural(1, 'like'), '1 like');
  assert.equal(format.plural(0, 'like'), '0 likes');
});

test('times are told by how long ago they are', () => {
  const at = (seconds) => format.ago(0, seconds * 1000);
  assert.deepEqual([-3, 0, 4, 5, 59, 60, 3599, 3600, 86_400 * 3].map(at),
    ['now', 'now', 'now', '5 s', '59 s', '1 min', '59 min', '1 h', '3 d']);
  assert.equal(format.ago(NaN, 0), '');
  assert.equal(format.secondsUntil(1500, 0), 2);
  assert.equal(format.secondsUntil(0, 1500), 0);
});

test('a request is shown as a command that a shell reads back, without the token', () => {
  const shown = format.curl({ method: 'POST', url: 'http://h/api/events', body: `{"text":"it's $HOME"}` });
  assert.match(shown, /Bearer \$TOKEN/);
  assert.ok(shown.includes(`-d '{"text":"it'\\''s $HOME"}'`), shown);
  assert.equal(format.pretty('{"a":1}'), '{\n  "a": 1\n}');
  assert.equal(format.pretty('<html>'), '<html>');
});

test('a counter is summed over its labels, and told from longer names', () => {
  const text = [
    '# HELP c_total What it is.', '# TYPE c_total counter',
    'c_total{kind="like",path="/{id} 7"} 3', 'c_total{kind="post"} 4.5e1 1700000000', 'c_totals 100', 'c_total_created 5', '',
  ].join('\n');
  assert.equal(sum(text, 'c_total'), 48);
  assert.equal(sum('c_total 7\n', 'c_total'), 7);
  assert.equal(sum(text, 'c'), null);
  assert.equal(sum('', 'c_total'), null);
});

test('a ring keeps the last spans, and lets empty ones pass', () => {
  const ring = new Ring(3, 10);
  assert.deepEqual(ring.series(), []);
  ring.add(1, 5);
  ring.add(2, 9);
  ring.add(4, 12);
  assert.deepEqual(ring.series().map((s) => [s.start, s.value, s.seen]), [[-10, 0, false], [0, 3, true], [10, 4, true]]);
  ring.advance(35);
  assert.deepEqual(ring.series().map((s) => s.value), [4, 0, 0]);
  ring.add(9, 1);
  assert.equal(ring.total(), 4, 'what has fallen out is left out');
  ring.advance(1000);
  assert.equal(ring.total(), 0);
  ring.add(5, 990);
  assert.equal(ring.total(), 5, 'late, but still inside');
});

test('a ring comes back as it was saved, and only if it fits', () => {
  const ring = new Ring(3, 10);
  ring.add(7, 25);
  const saved = JSON.parse(JSON.stringify(ring.save()));
  assert.deepEqual(Ring.load(saved, 3, 10).series(), ring.series());
  for (const other of [null, {}, { ...saved, span: 5 }, { ...saved, values: [1] }, { ...saved, newest: 'x' }]) {
    assert.deepEqual(Ring.load(other, 3, 10).series(), []);
  }
});

test('a pace follows from two readings, over a restart too', () => {
  const pace = new Pace();
  assert.equal(pace.read(100, 1000), null);
  assert.deepEqual(pace.read(150, 2000), { added: 50, perSecond: 50 });
  assert.equal(pace.read(160, 2100), null, 'too soon');
  assert.deepEqual(pace.read(170, 3000), { added: 20, perSecond: 20 }, 'what came too soon is not lost');
  assert.deepEqual(pace.read(10, 5000), { added: 10, perSecond: 5 }, 'another process has counted from 0');
  assert.equal(pace.read(null, 6000), null);
  pace.forget();
  assert.equal(pace.read(20, 7000), null);
});

const jwt = (body) => `h.${Buffer.from(JSON.stringify(body)).toString('base64url')}.s`;

/** A tab's storage and history. */
function tab(hash) {
  const kept = new Map();
  const location = { hash, pathname: '/feed/', search: '?x=1' };
  const replaced = [];
  return {
    location,
    replaced,
    history: { state: null, replaceState: (...args) => replaced.push(args[2]) },
    storage: { getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => kept.set(k, v), removeItem: (k) => kept.delete(k) },
  };
}

test('the token leaves the address and stays in the tab', () => {
  const t = tab('#token=abc&post=p9');
  assert.equal(take(t.location, t.history, t.storage), 'abc');
  assert.deepEqual(t.replaced, ['/feed/?x=1#post=p9']);
  t.location.hash = '';
  assert.equal(take(t.location, t.history, t.storage), 'abc');
  keep(null, t.storage);
  assert.equal(take(t.location, t.history, t.storage), null);
  assert.equal(t.replaced.length, 1);
});

test('a token is found in what people paste', () => {
  assert.equal(cleaned('  Bearer a.b.c\n'), 'a.b.c');
  assert.equal(cleaned('http://127.0.0.1:8080/#token=a.b.c'), 'a.b.c');
  assert.equal(cleaned('http://127.0.0.1:8080/#token=a.b%2Ec&post=1'), 'a.b.c');
  assert.equal(inFragment('#post=9'), null);
  assert.equal(inFragment('#token='), null);
  assert.deepEqual(inFragment('#token=%E0%A4%A'), { token: '%E0%A4%A', rest: '' });
});

test('a token says who it is for, in any script; what is no token says nothing', () => {
  assert.deepEqual(claims(jwt({ sub: 'ünï', exp: 5, roles: ['moderator', 3], scope: 'a events:write:any' })),
    { user: 'ünï', roles: ['moderator'], scopes: ['a', 'events:write:any'], expiresAt: 5000 });
  assert.deepEqual(claims(jwt({ sub: 'u1' })), { user: 'u1', roles: [], scopes: [], expiresAt: null });
  for (const none of ['', 'a', 'a.b.c', 'a.!!.c', jwt({}), jwt(null), jwt('text')]) assert.equal(claims(none), null, none);
});

test('ids are UUIDs of version 7 that carry the time', () => {
  const id = uuid7(0x0123_4567_89ab, (bytes) => bytes.fill(0xff));
  assert.equal(id, '01234567-89ab-7fff-bfff-ffffffffffff');
  assert.match(uuid7(), /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(new Set(Array.from({ length: 100 }, () => uuid7())).size, 100);
});

test('the ranking is by likes, then by id, as the gateway has it', () => {
  const ranking = new Ranking(3);
  ranking.answer([{ postId: 'b', likes: 5 }, { postId: 'a', likes: 5 }, { postId: 'Z', likes: 5 }, { postId: 'c', likes: 9 }], 0);
  assert.deepEqual(ranking.first().map((p) => p.postId), ['c', 'Z', 'a']);
  assert.equal(ranking.counts('d', 7, 1), true);
  assert.deepEqual(ranking.first().map((p) => p.postId), ['c', 'd', 'Z']);
  ranking.counts('c', 0, 2);
  assert.deepEqual(ranking.first().map((p) => p.postId), ['d', 'Z', 'a'], 'without likes in no list');
  assert.equal(ranking.counts('d', 7, 3), false);
  assert.equal(ranking.counts('d', undefined, 3), false);
});

test('an answer does not undo counts that arrived after it was asked for', () => {
  const ranking = new Ranking(3);
  ranking.answer([{ postId: 'a', likes: 5 }, { postId: 'gone', likes: 4 }], 0);
  ranking.counts('a', 8, 20);
  ranking.counts('new', 6, 20);
  ranking.answer([{ postId: 'a', likes: 6 }], 10);
  assert.deepEqual(ranking.first(), [{ postId: 'a', likes: 8 }, { postId: 'new', likes: 6 }]);
  ranking.answer([{ postId: 'a', likes: 9 }], 30);
  assert.deepEqual(ranking.first(), [{ postId: 'a', likes: 9 }]);
});

test('the ranking remembers a bounded number of posts, the most liked', () => {
  const ranking = new Ranking(2);
  for (let i = 0; i < 5000; i += 1) ranking.counts(`p${i}`, i + 1, i);
  assert.deepEqual(ranking.first().map((p) => p.postId), ['p4999', 'p4998']);
});

test('scales end at a round number', () => {
  assert.deepEqual([0, 1, 3, 7, 629, 4000, NaN].map((v) => scale(v).max), [1, 1, 3, 8, 800, 4000, 1]);
  for (let v = 1; v < 100_000; v = Math.ceil(v * 1.7)) {
    const { max, step } = scale(v);
    assert.ok(max >= v && max % step === 0 && max / step <= 5, `${v}: ${max} by ${step}`);
  }
});

test('bars stand on each other and on the ground, and fit', () => {
  const space = { width: 200, height: 100, left: 20, bottom: 10, top: 10 };
  const { bars, lines, max } = layout([{ parts: [4, 4] }, { parts: [0, 2] }, { parts: [-3, 1] }], space);
  assert.equal(max, 8);
  const [first, second, third] = bars;
  assert.deepEqual(first.parts, [{ y: 50, height: 40 }, { y: 10, height: 40 }]);
  assert.equal(second.parts[1].y + second.parts[1].height, 90);
  assert.equal(third.parts[0].height, 0, 'more taken back than given has no height');
  for (const bar of bars) assert.ok(bar.x >= 20 && bar.x + bar.width <= 200);
  assert.equal(lines[0].y, 90);
  assert.equal(lines.at(-1).y, 10);
  assert.deepEqual(layout([], space).bars, []);
});

test('labels keep apart, and the newest has one', () => {
  for (const [bars, width] of [[60, 500], [24, 300], [24, 1000], [30, 290], [1, 40], [60, 10]]) {
    const shown = labelled(bars, width);
    assert.equal(shown.length, bars);
    assert.equal(shown.at(-1), true);
    assert.ok(shown.filter(Boolean).length <= Math.max(1, Math.floor(width / 56)), `${bars} in ${width}`);
  }
});

test('a chart is told in a sentence', () => {
  const data = { title: 'Activity', series: [{ name: 'likes' }, { name: 'comments' }], name: (s) => `t${s}`, empty: 'Nothing' };
  assert.equal(summary({ ...data, bars: [{ start: 1, parts: [2, 1] }, { start: 2, parts: [5, 0] }] }),
    'Activity. 7 likes, 1 comments in all; most at t2: 5.');
  assert.equal(summary({ ...data, bars: [] }), 'Activity. Nothing');
  assert.equal(sparkline([1], 10, 10), '');
  assert.equal(sparkline([0, 2, 1], 10, 10), 'M0.0 10.0L5.0 0.0L10.0 5.0');
});

test('buckets that the gateway leaves out are there as empty ones', () => {
  const now = Date.parse('2026-11-24T10:30:00Z');
  const range = bounds('hour', 3, now);
  assert.deepEqual(range, { from: Date.parse('2026-11-24T08:00:00Z'), to: Date.parse('2026-11-24T11:00:00Z') });
  const bars = filled([{ start: '2026-11-24T09:00:00Z', counts: { view: 1, like: 2, comment: 0 } }], 'hour', range);
  assert.deepEqual(bars.map((b) => (b.start - range.from) / HOUR), [0, 1, 2]);
  assert.deepEqual(bars[1].counts, { view: 1, like: 2, comment: 0 });
  assert.deepEqual(bars[2].counts, {});
  assert.deepEqual(kinds(bars), ['like', 'view'], 'the well-known first, those without any left out');
  assert.equal((bounds('day', 30, now).to - bounds('day', 30, now).from) / DAY, 30);
});

/** An API whose gateway is a function. */
function api(answer, token = 'T') {
  const asked = [];
  const instance = new Api('http://h/feed/', () => token, async (url, options) => {
    asked.push({ url, ...options });
    return answer(url, options);
  });
  return { api: instance, asked };
}

test('calls go below the address of the page, escaped, with the token in a header', async () => {
  const { api: it, asked } = api(() => Response.json({ posts: [] }));
  await it.top('likes', 'all', 10);
  await it.post('a:b@c', '3:17');
  await it.liked(['a', 'b']);
  assert.equal(asked[0].url, 'http://h/feed/api/posts/top?by=likes&window=all&limit=10');
  assert.equal(asked[1].url, 'http://h/feed/api/posts/a%3Ab%40c?after=3%3A17');
  assert.equal(asked[2].url, 'http://h/feed/api/users/me/likes?posts=a%2Cb');
  assert.equal(asked[0].headers.authorization, 'Bearer T');
  const without = api(() => Response.json({}), null);
  await without.api.post('p');
  assert.equal(without.asked[0].headers.authorization, undefined);
});

test('problems are told in the words of the gateway', async () => {
  const problem = { type: 'urn:feedkit:problem:forbidden', title: 'This is not allowed', status: 403, detail: 'the role moderator is needed' };
  const refused = await api(() => Response.json(problem, { status: 403 })).api.alerts().catch((error) => error);
  assert.ok(refused instanceof ApiError);
  assert.equal(refused.status, 403);
  assert.equal(told(refused), 'the role moderator is needed');
  const proxy = await api(() => new Response('<html>', { status: 502, statusText: 'Bad Gateway' })).api.alerts().catch((error) => error);
  assert.equal(told(proxy), '502 Bad Gateway');
  const away = await api(() => { throw new TypeError('fetch failed'); }).api.alerts().catch((error) => error);
  assert.equal(told(away), 'The gateway cannot be reached.');
});

test('an event is sent as it is shown, and its answer is told whole', async () => {
  const { api: it, asked } = api(() => Response.json({ id: 'i', position: '2:9' }, {
    status: 202, statusText: 'Accepted', headers: { 'ratelimit-remaining': '7', 'x-other': 'no' },
  }));
  const event = eventOf({ userId: 'u1', postId: 'p9', type: 'like', text: 'left out' });
  assert.equal(event.text, undefined);
  const exchange = await send(it, event);
  assert.equal(exchange.request.body, asked[0].body);
  assert.deepEqual(JSON.parse(asked[0].body), event);
  assert.equal(positionOf(exchange), '2:9');
  assert.deepEqual(exchange.answer.headers, [['content-type', 'application/json'], ['ratelimit-remaining', '7']]);
  assert.equal(eventOf({ userId: 'u', postId: 'p', type: 'comment', text: 'hi' }).text, 'hi');
});

test('no answer at all is an answer that says what to do', async () => {
  const exchange = await send(api(() => { throw new TypeError('fetch failed'); }).api, eventOf({ userId: 'u', postId: 'p', type: 'like' }));
  assert.equal(exchange.answer.status, 0);
  assert.equal(positionOf(exchange), undefined);
  assert.match(exchange.answer.body, /same id/);
});

test('a refusal has no position', async () => {
  const exchange = await send(api(() => Response.json({ detail: 'no', position: '1:1' }, { status: 422 })).api, {});
  assert.equal(positionOf(exchange), undefined);
  assert.equal(exchange.answer.json.detail, 'no');
});

test('a poll asks steadily, backs off when it fails, and rests in the background', async () => {
  const time = new Time();
  let asked = 0;
  let fails = false;
  let hidden = false;
  const poll = new Poll(1000, async () => { asked += 1; if (fails) throw new Error('no'); }, { ...time.options(), hidden: () => hidden });
  poll.now();
  await time.advance(3500);
  assert.equal(asked, 4);
  fails = true;
  await time.advance(60_000);
  assert.ok(asked >= 8 && asked <= 11, `${asked} in a minute of failures`);
  fails = false;
  poll.now();
  await time.advance(0);
  asked = 0;
  hidden = true;
  await time.advance(10_000);
  assert.equal(asked, 0);
  hidden = false;
  await time.advance(1000);
  assert.equal(asked, 1);
});

test('a question that comes while one is under way is asked once after it', async () => {
  const time = new Time();
  const waiting = [];
  const poll = new Poll(1000, () => new Promise((resolve) => waiting.push(resolve)), { ...time.options(), hidden: () => false });
  poll.now();
  poll.now();
  poll.now();
  assert.equal(waiting.length, 1);
  waiting[0]();
  await time.advance(0);
  assert.equal(waiting.length, 2);
  waiting[1]();
  await time.advance(500);
  assert.equal(waiting.length, 2);
});
