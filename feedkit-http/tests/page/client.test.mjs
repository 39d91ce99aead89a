import assert from 'node:assert/strict';
import test from 'node:test';

import { CloseCode, FeedkitClient, storageCursorStore } from '../../src/page/assets/feedkit-client.js';
import { Time, settle, sockets } from './fakes.mjs';

/** A client with everything recorded. `random` gives the jitter, 0.5 unless a test sets it. */
function world(options = {}) {
  const time = new Time();
  const { FakeSocket, made, last } = sockets();
  const heard = { notifications: [], counts: [], states: [], errors: [], missed: 0, saved: [] };
  const w = { time, made, last, heard, random: 0.5 };
  w.client = new FeedkitClient({
    url: 'https://feed.example/ws',
    token: options.getToken ? undefined : 't1',
    WebSocket: FakeSocket,
    random: () => w.random,
    ...time.options(),
    cursorStore: { load: () => options.stored ?? null, save: (cursor) => void heard.saved.push(cursor) },
    onNotification: (notification, where) => heard.notifications.push([notification.id, where.channel, where.cursor]),
    onCounts: (...values) => heard.counts.push(values),
    onState: (state) => heard.states.push(state),
    onError: (error) => heard.errors.push(error),
    onMissed: () => { heard.missed += 1; },
    ...options,
  });
  /** Connects as far as the subscription. */
  w.open = async (answer = {}) => {
    w.client.connect();
    await w.come(answer);
    return last();
  };
  /** The newest socket is accepted and answered. */
  w.come = async (answer = {}) => {
    await settle();
    last().accept();
    last().ready(answer);
    if (last().of('subscribe').length > 0) last().subscribed({ channels: w.client.channels, ...answer });
  };
  w.status = () => w.client.state.status;
  return w;
}

// --- Connecting ---------------------------------------------------------------------------------------------------

test('nothing happens before connect', async () => {
  const w = world();
  await w.time.advance(100_000);
  assert.equal(w.made.length, 0);
  assert.equal(w.status(), 'idle');
});

test('it speaks feedkit.v1 and authenticates in band, never in the address', async () => {
  const w = world();
  w.client.connect();
  await settle();
  const socket = w.last();
  assert.equal(socket.url, 'wss://feed.example/ws');
  assert.deepEqual(socket.protocols, ['feedkit.v1']);
  assert.equal(w.status(), 'connecting');
  socket.accept();
  assert.deepEqual(socket.sent, [{ type: 'auth', token: 't1' }]);
});

test('it subscribes when the gateway is ready, not before, and without a cursor at first', async () => {
  const w = world({ channels: ['me', 'top'] });
  w.client.connect();
  await settle();
  w.last().accept();
  assert.equal(w.last().of('subscribe').length, 0);
  w.last().ready();
  assert.deepEqual(w.last().of('subscribe'), [{ type: 'subscribe', channels: ['me', 'top'] }]);
  assert.equal(w.status(), 'open');
  assert.equal(w.client.state.userId, 'u1');
});

test('a stored cursor is given with the first subscription', async () => {
  const w = world({ stored: 'c7' });
  const socket = await w.open();
  assert.equal(socket.of('subscribe')[0].cursor, 'c7');
});

test('a store that answers later, or fails, does not hinder', async () => {
  const later = world({ cursorStore: { load: async () => 'c3', save: async () => {} } });
  assert.equal((await later.open()).of('subscribe')[0].cursor, 'c3');
  const broken = world({ cursorStore: { load: () => { throw new Error('no storage'); }, save: () => { throw new Error('full'); } } });
  const socket = await broken.open();
  socket.notify('n1', 'c1');
  assert.equal(broken.status(), 'open');
  assert.deepEqual(broken.heard.errors.map((e) => e.message), ['no storage', 'full', 'full']);
  assert.equal(broken.client.cursor, 'c1');
});

test('an http address becomes a ws one', async () => {
  const w = world({ url: 'http://localhost:8080/ws' });
  w.client.connect();
  await settle();
  assert.equal(w.last().url, 'ws://localhost:8080/ws');
});

test('without token and getToken it is refused at once', () => {
  assert.throws(() => new FeedkitClient({ url: 'ws://x/ws' }), TypeError);
});

test('an invalid address ends it', async () => {
  const w = world({ url: 'https://feed.example/ws', WebSocket: class { constructor() { throw new SyntaxError('bad address'); } } });
  w.client.connect();
  await settle();
  assert.equal(w.status(), 'closed');
  assert.equal(w.time.set, 0);
});

test('a connection that does not become ready in time is given up', async () => {
  const w = world();
  w.client.connect();
  await settle();
  w.last().accept();
  await w.time.advance(15_000);
  assert.equal(w.status(), 'waiting');
  assert.equal(w.made[0].closedWith.code, 4000);
  await w.time.advance(500);
  assert.equal(w.made.length, 2);
});

// --- Notifications and the cursor ---------------------------------------------------------------------------------

test('notifications are handed over in order, and the cursor is saved after each', async () => {
  const w = world();
  const socket = await w.open({ cursor: 'c0' });
  socket.notify('n1', 'c1');
  socket.notify('n2', 'c2', 'role:moderator');
  assert.deepEqual(w.heard.notifications, [['n1', 'me', 'c1'], ['n2', 'role:moderator', 'c2']]);
  assert.deepEqual(w.heard.saved, ['c0', 'c1', 'c2']);
  assert.equal(w.client.cursor, 'c2');
});

test('the cursor is saved only after the notification was handed over', async () => {
  const order = [];
  const w = world({
    cursorStore: { load: () => null, save: (cursor) => void order.push(cursor) },
    onNotification: ({ id }) => order.push(id),
  });
  const socket = await w.open({ cursor: 'c0' });
  socket.notify('n1', 'c1');
  assert.deepEqual(order, ['c0', 'n1', 'c1']);
});

test('it comes back with the cursor', async () => {
  const w = world();
  const socket = await w.open();
  socket.notify('n1', 'c1');
  socket.end(1006);
  await w.time.advance(1000);
  await w.come();
  assert.deepEqual(w.last().of('subscribe'), [{ type: 'subscribe', channels: ['me'], cursor: 'c1' }]);
});

test('while a recovery follows, the cursor stays behind what was handed over', async () => {
  const w = world({ stored: 'c1' });
  const socket = await w.open({ recovered: true, cursor: 'c9' });
  assert.equal(w.client.cursor, 'c1');
  socket.notify('n2', 'c2');
  socket.end(1006);
  await w.time.advance(1000);
  await w.come({ cursor: 'c9' });
  assert.equal(w.last().of('subscribe')[0].cursor, 'c2');
});

test('what cannot be recovered is said, and the cursor begins anew', async () => {
  const w = world({ stored: 'old' });
  await w.open({ recovered: false, cursor: 'c5' });
  assert.equal(w.heard.missed, 1);
  assert.equal(w.client.cursor, 'c5');
});

test('without a cursor nothing can have been missed', async () => {
  const w = world();
  await w.open({ recovered: false, cursor: 'c5' });
  assert.equal(w.heard.missed, 0);
});

test('a notification that comes twice is handed over once, over a reconnect too', async () => {
  const w = world();
  const socket = await w.open();
  socket.notify('n1', 'c1');
  socket.notify('n1', 'c1');
  socket.notify('n1', 'c2', 'post:9');
  socket.end();
  await w.time.advance(1000);
  await w.come();
  w.last().notify('n1', 'c1');
  w.last().notify('n2', 'c3');
  assert.deepEqual(w.heard.notifications.map(([id]) => id), ['n1', 'n2']);
  assert.equal(w.client.cursor, 'c3');
});

test('the memory of ids is bounded, the oldest go first', async () => {
  const w = world({ remember: 2 });
  const socket = await w.open();
  for (const id of ['a', 'b', 'c', 'b', 'a']) socket.notify(id, 'c');
  assert.deepEqual(w.heard.notifications.map(([id]) => id), ['a', 'b', 'c', 'a']);
});

test('a pong moves the cursor, one without does not', async () => {
  const w = world();
  const socket = await w.open({ cursor: 'c0' });
  socket.say({ type: 'pong', cursor: 'c8' });
  socket.say({ type: 'pong' });
  assert.equal(w.client.cursor, 'c8');
  assert.deepEqual(w.heard.saved, ['c0', 'c8']);
});

test('counts are passed on and leave the cursor alone', async () => {
  const w = world({ channels: ['top'] });
  const socket = await w.open({ cursor: 'c0' });
  socket.say({ type: 'counts', postId: 'p9', counts: { like: 4 } });
  assert.deepEqual(w.heard.counts, [['p9', { like: 4 }]]);
  assert.equal(w.client.cursor, 'c0');
});

test('errors of the gateway, strange frames and throwing listeners do not end the connection', async () => {
  const w = world({ onCounts: () => { throw new Error('mine'); } });
  const socket = await w.open();
  socket.say({ type: 'error', code: 'too-many-channels', detail: 'a client has at most 100' });
  socket.say('{"type":');
  socket.say('null');
  socket.say({ type: 'weather' });
  socket.say({ type: 'counts', postId: 'p', counts: {} });
  socket.notify('n1', 'c1');
  assert.equal(w.status(), 'open');
  assert.equal(w.heard.errors[0].code, 'too-many-channels');
  assert.equal(w.heard.errors.at(-1).message, 'mine');
  assert.equal(w.heard.notifications.length, 1);
});

test('the cursor store keeps it in a storage', () => {
  const kept = new Map();
  const store = storageCursorStore({ getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => kept.set(k, v) }, 'k');
  assert.equal(store.load(), null);
  store.save('c1');
  assert.equal(store.load(), 'c1');
});

// --- Channels at run time -----------------------------------------------------------------------------------------

test('channels are added and removed on an open connection', async () => {
  const w = world();
  const socket = await w.open();
  w.client.subscribe('post:9', 'me');
  w.client.unsubscribe('post:9', 'post:10');
  assert.deepEqual(socket.of('subscribe')[1], { type: 'subscribe', channels: ['post:9'] });
  assert.deepEqual(socket.of('unsubscribe'), [{ type: 'unsubscribe', channels: ['post:9'] }]);
  assert.deepEqual(w.client.channels, ['me']);
});

test('an added channel has missed nothing, and does not move the cursor past what is on its way', async () => {
  const w = world({ stored: 'c1' });
  const socket = await w.open({ cursor: 'c1' });
  w.client.subscribe('post:9');
  socket.subscribed({ channels: ['post:9'], recovered: false, cursor: 'c4' });
  assert.equal(w.heard.missed, 0);
  assert.equal(w.client.cursor, 'c1');
});

test('a refused channel does not confuse the answers that follow', async () => {
  const w = world({ stored: 'c1', channels: ['me'] });
  w.client.connect();
  await settle();
  w.last().accept();
  w.last().ready();
  w.client.subscribe('role:moderator');
  w.client.subscribe('post:9');
  w.last().subscribed({ channels: ['me'], recovered: false, cursor: 'c5' });
  w.last().say({ type: 'error', code: 'forbidden', detail: 'role:moderator' });
  w.last().subscribed({ channels: ['post:9'], recovered: false, cursor: 'c6' });
  assert.equal(w.heard.missed, 1);
  assert.equal(w.client.cursor, 'c5');
});

test('the answer to a later request is not taken for that to a refused one', async () => {
  const w = world({ stored: 'c1', channels: ['role:moderator'] });
  w.client.connect();
  await settle();
  w.last().accept();
  w.last().ready();
  w.client.subscribe('post:9');
  w.last().say({ type: 'error', code: 'forbidden', detail: 'role:moderator' });
  w.last().subscribed({ channels: ['post:9'], recovered: false, cursor: 'c6' });
  assert.equal(w.heard.missed, 0);
  assert.equal(w.client.cursor, 'c1');
});

test('channels changed while away are those of the next connection', async () => {
  const w = world();
  const socket = await w.open();
  socket.end();
  w.client.subscribe('post:9');
  w.client.unsubscribe('me');
  await w.time.advance(1000);
  await w.come();
  assert.deepEqual(w.last().of('subscribe')[0].channels, ['post:9']);
  assert.equal(w.last().of('subscribe').length, 1);
});

// --- Coming back --------------------------------------------------------------------------------------------------

test('waits double up to the cap, each with full jitter', async () => {
  const w = world({ backoffBase: 1000, backoffCap: 30_000 });
  w.client.connect();
  const waits = [];
  for (const random of [0.999, 0.999, 0.999, 0.999, 0.999, 0.999, 0.999, 0, 0.25]) {
    w.random = random;
    await settle();
    w.last().end(1006);
    assert.equal(w.status(), 'waiting');
    waits.push(w.client.state.delay);
    assert.equal(w.client.state.retryAt, w.time.now + w.client.state.delay);
    await w.time.advance(w.client.state.delay);
  }
  assert.deepEqual(waits.map(Math.round), [999, 1998, 3996, 7992, 15_984, 29_970, 29_970, 0, 7500]);
});

test('a connection that stood a while makes the next loss the first; one that did not, does not', async () => {
  const w = world();
  w.random = 0.999;
  const socket = await w.open();
  await w.time.advance(4000);
  socket.end();
  assert.equal(Math.round(w.client.state.delay), 999);
  await w.time.advance(1000);
  await w.come();
  await w.time.advance(100);
  w.last().end();
  assert.equal(Math.round(w.client.state.delay), 1998, 'stood for 0.1 s only');
  await w.time.advance(2000);
  await w.come();
  await w.time.advance(5000);
  w.last().end();
  assert.equal(Math.round(w.client.state.delay), 999);
});

for (const code of [CloseCode.RESTARTING, CloseCode.GOING_AWAY]) {
  test(`after ${code} it comes back soon, spread over two seconds`, async () => {
    for (const [random, wait] of [[0, 0], [0.5, 1000], [0.999, 1998]]) {
      const w = world();
      const socket = await w.open();
      socket.notify('n1', 'c1');
      w.random = random;
      socket.end(code);
      assert.equal(w.client.state.delay, wait);
      assert.equal(w.client.state.code, code);
      await w.time.advance(wait);
      await w.come();
      assert.equal(w.last().of('subscribe')[0].cursor, 'c1');
    }
  });
}

test('a gateway that says 1012 again and again is left more and more in peace', async () => {
  const w = world();
  w.random = 0.999;
  w.client.connect();
  const waits = [];
  for (let i = 0; i < 5; i += 1) {
    await settle();
    w.last().end(1012);
    waits.push(Math.round(w.client.state.delay));
    await w.time.advance(w.client.state.delay);
  }
  assert.deepEqual(waits, [1998, 1998, 3996, 7992, 15_984]);
});

test('after 4009, too slow, it comes back with the cursor', async () => {
  const w = world();
  const socket = await w.open();
  socket.notify('n1', 'c1');
  socket.end(4009);
  await w.time.advance(500);
  await w.come();
  assert.equal(w.last().of('subscribe')[0].cursor, 'c1');
});

for (const code of [CloseCode.FORBIDDEN, CloseCode.POLICY]) {
  test(`after ${code} it does not come back`, async () => {
    const w = world();
    const socket = await w.open();
    socket.end(code, 'no');
    assert.equal(w.status(), 'closed');
    assert.equal(w.client.state.code, code);
    assert.match(w.client.state.reason, /no$/);
    await w.time.advance(3_600_000);
    assert.equal(w.made.length, 1);
    assert.equal(w.time.set, 0);
  });
}

test('after 4029, too many, it waits for long', async () => {
  for (const [random, wait] of [[0, 30_000], [0.5, 45_000]]) {
    const w = world();
    const socket = await w.open();
    w.random = random;
    socket.end(4029);
    assert.equal(w.client.state.delay, wait);
    await w.time.advance(wait - 1);
    assert.equal(w.made.length, 1);
    await w.time.advance(1);
    assert.equal(w.made.length, 2);
  }
});

test('retryNow and connect do not wait any longer, and leave one connection only', async () => {
  for (const now of ['retryNow', 'connect']) {
    const w = world();
    const socket = await w.open();
    socket.end(4029);
    w.client[now]();
    await w.come();
    assert.equal(w.made.length, 2);
    await w.time.advance(100_000);
    assert.equal(w.made.filter((made) => made.readyState === 1).length <= 1, true);
    w.client.retryNow();
    assert.equal(w.status() === 'open' || w.status() === 'connecting' || w.status() === 'waiting', true);
  }
});

test('what a socket says after it was left is not heard', async () => {
  const w = world();
  const first = await w.open();
  w.client.reconnect();
  await w.come();
  first.notify('late', 'c99');
  first.end(4003);
  assert.equal(w.heard.notifications.length, 0);
  assert.equal(w.status(), 'open');
  assert.equal(first.closedWith.code, 1000);
});

// --- Tokens -------------------------------------------------------------------------------------------------------

test('4001 with a fixed token ends it', async () => {
  const w = world();
  w.client.connect();
  await settle();
  w.last().accept();
  w.last().end(4001);
  assert.equal(w.status(), 'closed');
  assert.equal(w.client.state.code, 4001);
});

for (const code of [CloseCode.UNAUTHENTICATED, CloseCode.TOKEN_EXPIRED]) {
  test(`after ${code} it gets a new token and comes back at once`, async () => {
    const asked = [];
    const w = world({ getToken: async (request) => { asked.push(request); return `t${asked.length}`; } });
    const socket = await w.open();
    socket.notify('n1', 'c1');
    socket.end(code);
    assert.equal(w.client.state.delay, 0);
    await w.time.advance(0);
    await w.come();
    assert.equal(w.last().of('auth')[0].token, 't2');
    assert.equal(w.last().of('subscribe')[0].cursor, 'c1');
    assert.deepEqual(asked, [{ reason: 'connect', refused: null }, { reason: 'refused', refused: 't1' }]);
  });
}

test('the same token after a refusal ends it', async () => {
  const w = world({ getToken: () => 't1' });
  const socket = await w.open();
  socket.end(4002);
  await w.time.advance(0);
  assert.equal(w.status(), 'closed');
  assert.equal(w.client.state.code, 4001);
  assert.equal(w.made.length, 1);
});

test('no token ends it, and connect starts anew', async () => {
  let token = null;
  const w = world({ getToken: () => token });
  w.client.connect();
  await settle();
  assert.equal(w.status(), 'closed');
  token = 't1';
  await w.open();
  assert.equal(w.status(), 'open');
});

test('tokens that are refused one after the other are asked for less and less often', async () => {
  let made = 0;
  const w = world({ getToken: () => `t${(made += 1)}` });
  w.random = 0.999;
  w.client.connect();
  const waits = [];
  for (let i = 0; i < 4; i += 1) {
    await settle();
    w.last().accept();
    w.last().end(4001);
    waits.push(Math.round(w.client.state.delay));
    await w.time.advance(w.client.state.delay);
  }
  assert.deepEqual(waits, [0, 999, 1998, 3996]);
});

test('a getToken that fails is asked again later', async () => {
  let fails = 2;
  const w = world({ getToken: async () => { if (fails-- > 0) throw new Error('offline'); return 't1'; } });
  w.client.connect();
  await settle();
  assert.equal(w.status(), 'waiting');
  assert.match(w.client.state.reason, /offline/);
  await w.time.advance(500);
  assert.equal(w.status(), 'waiting');
  await w.time.advance(1000);
  await w.come();
  assert.equal(w.status(), 'open');
});

test('a token is renewed in band a minute before its end', async () => {
  let made = 0;
  const w = world({ getToken: async () => `t${(made += 1)}` });
  const expiresAt = new Date(w.time.now + 600_000).toISOString();
  const socket = await w.open({ expiresAt });
  const keepAlive = setAlive(w, socket);
  await keepAlive(539_000);
  assert.equal(socket.of('auth').length, 1);
  await keepAlive(2_000);
  assert.deepEqual(socket.of('auth').map((frame) => frame.token), ['t1', 't2']);
  socket.ready({ expiresAt: new Date(w.time.now + 600_000).toISOString() });
  assert.equal(socket.of('subscribe').length, 1, 'a renewal subscribes nothing again');
  await keepAlive(541_000);
  assert.equal(socket.of('auth').length, 3);
  assert.equal(w.made.length, 1);
});

test('a short-lived token is renewed at half of its life', async () => {
  let made = 0;
  const w = world({ getToken: () => `t${(made += 1)}` });
  const socket = await w.open({ expiresAt: new Date(w.time.now + 40_000).toISOString() });
  await w.time.advance(19_000);
  assert.equal(socket.of('auth').length, 1);
  await w.time.advance(1_500);
  assert.equal(socket.of('auth').length, 2);
});

test('a life of weeks does not overflow the timer', async () => {
  let made = 0;
  const w = world({ getToken: () => `t${(made += 1)}`, pingEvery: 2 ** 31 - 1, pingTimeout: 2 ** 31 - 1 });
  const life = 40 * 86_400_000;
  const socket = await w.open({ expiresAt: new Date(w.time.now + life).toISOString() });
  await w.time.advance(life - 61_000);
  assert.equal(socket.of('auth').length, 1);
  await w.time.advance(2_000);
  assert.equal(socket.of('auth').length, 2);
});

test('the same token at its renewal is not sent again', async () => {
  const w = world({ getToken: () => 't1' });
  const socket = await w.open({ expiresAt: new Date(w.time.now + 20_000).toISOString() });
  await w.time.advance(19_000);
  assert.equal(socket.of('auth').length, 1);
});

test('a renewal that fails is tried again', async () => {
  let asked = 0;
  const w = world({ getToken: () => { asked += 1; if (asked === 2) throw new Error('offline'); return `t${asked}`; } });
  const socket = await w.open({ expiresAt: new Date(w.time.now + 40_000).toISOString() });
  await w.time.advance(20_000);
  assert.equal(socket.of('auth').length, 1);
  await w.time.advance(10_000);
  assert.deepEqual(socket.of('auth').map((frame) => frame.token), ['t1', 't3']);
});

test('a token that comes after close is not used', async () => {
  let give;
  const w = world({ getToken: () => new Promise((resolve) => { give = resolve; }) });
  w.client.connect();
  await settle();
  w.client.close();
  give('t1');
  await settle();
  assert.equal(w.made.length, 0);
  assert.equal(w.status(), 'closed');
});

// --- Dead connections ---------------------------------------------------------------------------------------------

test('a silent connection is pinged, and stays when something comes', async () => {
  const w = world({ pingEvery: 25_000, pingTimeout: 10_000 });
  const socket = await w.open();
  await w.time.advance(24_999);
  assert.equal(socket.of('ping').length, 0);
  await w.time.advance(1);
  assert.equal(socket.of('ping').length, 1);
  await w.time.advance(9_000);
  socket.say({ type: 'counts', postId: 'p', counts: {} });
  await w.time.advance(10_000);
  assert.equal(w.status(), 'open');
});

test('a busy connection is not pinged', async () => {
  const w = world({ pingEvery: 25_000 });
  const socket = await w.open();
  for (let i = 0; i < 20; i += 1) {
    await w.time.advance(20_000);
    socket.say({ type: 'counts', postId: 'p', counts: {} });
  }
  assert.equal(socket.of('ping').length, 0);
});

test('a dead connection is given up without waiting for its end', async () => {
  const w = world({ pingEvery: 25_000, pingTimeout: 10_000 });
  const socket = await w.open();
  socket.notify('n1', 'c1');
  await w.time.advance(35_000);
  assert.equal(w.status(), 'waiting');
  assert.match(w.client.state.reason, /dead/);
  assert.equal(socket.closedWith.code, 4000);
  await w.time.advance(1000);
  await w.come();
  assert.equal(w.last().of('subscribe')[0].cursor, 'c1');
});

// --- The end ------------------------------------------------------------------------------------------------------

test('close ends it from every state, with no timer left', async () => {
  const closings = {
    connecting: async (w) => { w.client.connect(); await settle(); },
    open: async (w) => { await w.open(); },
    waiting: async (w) => { (await w.open()).end(); },
  };
  for (const [status, arrive] of Object.entries(closings)) {
    const w = world();
    await arrive(w);
    assert.equal(w.status(), status);
    w.client.close();
    w.client.close();
    assert.equal(w.status(), 'closed');
    assert.equal(w.time.set, 0, status);
    await w.time.advance(100_000);
    assert.equal(w.made.length, 1);
    assert.equal(w.heard.states.filter((state) => state.status === 'closed').length, 1);
  }
});

test('close from within a listener is heeded', async () => {
  const w = world({ onNotification: () => w.client.close() });
  const socket = await w.open();
  socket.notify('n1', 'c1');
  socket.notify('n2', 'c2');
  assert.equal(w.status(), 'closed');
  assert.equal(w.time.set, 0);
  assert.equal(w.client.cursor, 'c1');
});

test('states are told in order', async () => {
  const w = world();
  const socket = await w.open();
  socket.end();
  await w.time.advance(1000);
  await w.come();
  assert.deepEqual(w.heard.states.map((state) => state.status), ['connecting', 'open', 'waiting', 'connecting', 'open']);
});

/** Moves time in steps, and lets the gateway answer pings meanwhile. */
function setAlive(w, socket) {
  return async (millis) => {
    for (let left = millis; left > 0; left -= 5_000) {
      await w.time.advance(Math.min(5_000, left));
      socket.say({ type: 'pong' });
    }
  };
}
