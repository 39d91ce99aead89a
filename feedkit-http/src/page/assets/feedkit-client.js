/*!
 * feedkit-client: notifications and live counts of a feedkit gateway, over one WebSocket that comes back.
 *
 * One file, no dependency, no build step; types in feedkit-client.d.ts. MIT licence: copy it into your project.
 *
 *     import { FeedkitClient, storageCursorStore } from './feedkit-client.js';
 *
 *     const client = new FeedkitClient({
 *       url: 'https://feed.example/ws',
 *       getToken: () => fetch('/token').then((answer) => answer.text()),
 *       channels: ['me', 'post:9'],
 *       cursorStore: storageCursorStore(sessionStorage, 'feedkit-cursor'),
 *       onNotification: (notification) => show(notification),
 *       onCounts: (postId, counts) => update(postId, counts.like),
 *       onState: (state) => console.log(state.status, state.reason),
 *     }).connect();
 *
 * What it does:
 *
 * - It comes back by itself when the connection ends, after a random time below a limit that doubles each time
 *   ("full jitter"), so that clients of a gateway that restarts do not all come at once.
 * - It keeps the cursor of what was handed to you, and gives it when it comes back: what was missed follows. If the
 *   gateway cannot tell any more what was missed, `onMissed` is called.
 * - A notification is handed to you once in the life of a client (of the last 1,000 ids), also if the gateway sends
 *   it twice. After a crash of your program between two notifications, the last one may come again.
 * - It asks `getToken` for a new token before the old one expires, and when one is refused.
 * - It notices a connection that is dead without having been closed.
 *
 * What ends it for good (`state.status` is `closed`): `close()`; 4003, not allowed; 4008, against the gateway's
 * rules; a token that is refused and no other to be had. `connect()` starts anew.
 */

const PROTOCOL = 'feedkit.v1';

/** The gateway's close codes. */
export const CloseCode = Object.freeze({
  GOING_AWAY: 1001,
  RESTARTING: 1012,
  UNAUTHENTICATED: 4001,
  TOKEN_EXPIRED: 4002,
  FORBIDDEN: 4003,
  POLICY: 4008,
  TOO_SLOW: 4009,
  TOO_MANY: 4029,
});

const REASONS = {
  1001: 'the gateway goes away',
  1012: 'the gateway restarts',
  4001: 'the token is not accepted',
  4002: 'the token has expired',
  4003: 'this is not allowed',
  4008: 'this is against the rules of the gateway',
  4009: 'this client was too slow',
  4029: 'too many connections or messages',
};

const DEFAULTS = {
  channels: ['me'],
  connectTimeout: 15_000,
  pingEvery: 25_000,
  pingTimeout: 10_000,
  refreshBefore: 60_000,
  backoffBase: 1_000,
  backoffCap: 30_000,
  restartSpread: 2_000,
  tooManyWait: 60_000,
  stableAfter: 5_000,
  remember: 1_000,
};

/** Longest time that setTimeout takes: 2^31 - 1 ms. Longer waits are taken in steps. */
const LONGEST_TIMEOUT = 2_147_483_647;

export class FeedkitClient {
  #options;
  #channels;
  #state = { status: 'idle', attempt: 0 };
  #socket = null;
  /** Raised by everything that makes what is under way obsolete: a new attempt, or the end. */
  #era = 0;
  #timers = new Map();
  #attempt = 0;
  #refusals = 0;
  #token = null;
  #refusedToken = null;
  #cursor = null;
  #cursorLoaded = false;
  #pending = [];
  #seen;

  constructor(options = {}) {
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    this.#options = { ...DEFAULTS, ...given };
    const o = this.#options;
    o.WebSocket ??= globalThis.WebSocket;
    o.setTimeout ??= (run, wait) => globalThis.setTimeout(run, wait);
    o.clearTimeout ??= (timer) => globalThis.clearTimeout(timer);
    o.random ??= Math.random;
    o.now ??= Date.now;
    if (o.token === undefined && o.getToken === undefined) {
      throw new TypeError('feedkit-client: token or getToken is needed');
    }
    this.#channels = new Set(o.channels);
    this.#seen = new Recent(o.remember);
  }

  /** The state that `onState` was last called with. */
  get state() {
    return this.#state;
  }

  /** The channels that are asked for, now or on the next connection. */
  get channels() {
    return [...this.#channels];
  }

  /** The cursor behind the last notification that was handed over; `null` before the first connection. */
  get cursor() {
    return this.#cursor;
  }

  /** Connects, if the client is idle, closed, or waiting. Returns the client. */
  connect() {
    const { status } = this.#state;
    if (status === 'idle' || status === 'closed' || status === 'waiting') {
      if (status !== 'waiting') {
        this.#attempt = 0;
        this.#refusals = 0;
        this.#refusedToken = null;
      }
      this.#open();
    }
    return this;
  }

  /** Does not wait any longer: tries now. Nothing happens unless the client waits. */
  retryNow() {
    if (this.#state.status === 'waiting') this.#open();
  }

  /** Ends the connection and comes back at once, with the cursor. For a token of another kind, say. */
  reconnect() {
    if (this.#state.status === 'closed' || this.#state.status === 'idle') return;
    this.#drop(1000, 'reconnecting');
    this.#open();
  }

  /** Ends the connection for good. */
  close() {
    if (this.#state.status === 'closed') return;
    this.#drop(1000, 'closed');
    this.#become({ status: 'closed', reason: 'closed by the program' });
  }

  /** Listens to more channels, from now on. */
  subscribe(...channels) {
    const added = channels.flat().filter((channel) => !this.#channels.has(channel));
    for (const channel of added) this.#channels.add(channel);
    if (added.length > 0 && this.#state.status === 'open') this.#ask(added, null);
  }

  /** Listens to these channels no longer. */
  unsubscribe(...channels) {
    const removed = channels.flat().filter((channel) => this.#channels.delete(channel));
    if (removed.length > 0 && this.#state.status === 'open') {
      this.#send({ type: 'unsubscribe', channels: removed });
    }
  }

  // --- Connecting -----------------------------------------------------------------------------------------------

  async #open() {
    this.#drop(1000, 'superseded');
    const era = this.#era;
    this.#become({ status: 'connecting', attempt: this.#attempt });
    await this.#loadCursor();
    if (era !== this.#era) return;

    let token;
    try {
      token = await this.#newToken(this.#refusedToken === null ? 'connect' : 'refused');
    } catch (error) {
      if (era !== this.#era) return;
      this.#report(error);
      this.#wait(this.#backoff(), `no token could be had: ${error?.message ?? error}`);
      return;
    }
    if (era !== this.#era) return;
    if (!token) return this.#end('there is no token', CloseCode.UNAUTHENTICATED);
    if (token === this.#refusedToken) {
      return this.#end('the token was refused, and there is no other', CloseCode.UNAUTHENTICATED);
    }
    this.#token = token;

    let socket;
    try {
      socket = new this.#options.WebSocket(this.#address(), [PROTOCOL]);
    } catch (error) {
      // A bad address: trying again would not help.
      this.#report(error);
      return this.#end(`cannot connect: ${error?.message ?? error}`);
    }
    this.#socket = socket;
    const current = (run) => (event) => {
      if (this.#socket === socket) run(event);
    };
    socket.onopen = current(() => this.#send({ type: 'auth', token }));
    socket.onmessage = current((event) => this.#receive(event.data));
    socket.onclose = current((event) => this.#closed(event.code, event.reason));
    // A close event follows each error, and says more.
    socket.onerror = () => {};
    this.#after('connect', this.#options.connectTimeout, () => this.#lost('no answer while connecting'));
  }

  #address() {
    const page = globalThis.location?.href;
    const url = new URL(this.#options.url ?? 'ws', page);
    if (url.protocol === 'http:') url.protocol = 'ws:';
    if (url.protocol === 'https:') url.protocol = 'wss:';
    return url.href;
  }

  #newToken(reason) {
    const { token, getToken } = this.#options;
    return getToken ? getToken({ reason, refused: this.#refusedToken }) : token;
  }

  async #loadCursor() {
    if (this.#cursorLoaded) return;
    this.#cursorLoaded = true;
    try {
      const stored = await this.#options.cursorStore?.load();
      this.#cursor ??= stored ?? null;
    } catch (error) {
      this.#report(error);
    }
  }

  // --- What the gateway says ------------------------------------------------------------------------------------

  #receive(data) {
    let frame;
    try {
      frame = JSON.parse(data);
    } catch (error) {
      this.#report(error);
      return;
    }
    this.#heard();
    switch (frame?.type) {
      case 'ready': return this.#ready(frame);
      case 'subscribed': return this.#subscribed(frame);
      case 'notification': return this.#notified(frame);
      case 'counts': return this.#call('onCounts', frame.postId, frame.counts);
      case 'pong': return this.#moveCursor(frame.cursor);
      case 'error': return this.#refusedRequest(frame);
      // What a newer gateway may say besides is not for this client.
      default:
    }
  }

  #ready({ userId, expiresAt }) {
    this.#cancel('connect');
    this.#refusedToken = null;
    this.#scheduleRefresh(expiresAt);
    if (this.#state.status === 'open') {
      this.#become({ ...this.#state, userId, expiresAt });
      return;
    }
    this.#after('stable', this.#options.stableAfter, () => {
      this.#attempt = 0;
      this.#refusals = 0;
    });
    this.#pending = [];
    this.#become({ status: 'open', attempt: this.#attempt, userId, expiresAt });
    if (this.#socket && this.#channels.size > 0) this.#ask([...this.#channels], this.#cursor);
    this.#heard();
  }

  #ask(channels, cursor) {
    this.#pending.push({ channels, withCursor: cursor !== null });
    this.#send(cursor === null ? { type: 'subscribe', channels } : { type: 'subscribe', channels, cursor });
  }

  #subscribed({ channels, recovered, cursor }) {
    // Answers come in the order of the requests; one that was refused has none.
    const at = this.#pending.findIndex((request) => request.channels.some((channel) => channels?.includes(channel)));
    const { withCursor } = at < 0 ? { withCursor: false } : this.#pending.splice(0, at + 1)[at];
    const missed = withCursor && recovered === false;
    // While a recovery follows, the cursor stays behind what was handed over. It moves with each notification.
    if (this.#cursor === null || missed) this.#moveCursor(cursor);
    if (missed) this.#call('onMissed');
  }

  #refusedRequest({ code, detail }) {
    this.#call('onError', Object.assign(new Error(detail ?? code ?? 'the gateway refuses a message'), { code }));
  }

  #notified({ channel, cursor, notification }) {
    if (this.#seen.add(notification.id)) this.#call('onNotification', notification, { channel, cursor });
    this.#moveCursor(cursor);
  }

  #moveCursor(cursor) {
    if (typeof cursor !== 'string' || cursor === this.#cursor) return;
    this.#cursor = cursor;
    try {
      this.#options.cursorStore?.save(cursor)?.catch?.((error) => this.#report(error));
    } catch (error) {
      this.#report(error);
    }
  }

  // --- Staying connected ----------------------------------------------------------------------------------------

  /** Something came: the connection lives. After a silence it is asked whether it still does. */
  #heard() {
    if (this.#state.status !== 'open') return;
    this.#cancel('pong');
    this.#after('ping', this.#options.pingEvery, () => {
      this.#send({ type: 'ping' });
      this.#after('pong', this.#options.pingTimeout, () => this.#lost('the connection is dead'));
    });
  }

  #scheduleRefresh(expiresAt) {
    if (!this.#options.getToken) return;
    const left = Date.parse(expiresAt) - this.#options.now();
    if (Number.isNaN(left)) return;
    // Short-lived tokens are renewed at half of their life; never so often that the gateway minds.
    const wait = Math.max(left - Math.min(this.#options.refreshBefore, left / 2), 5_000);
    this.#after('refresh', wait, () => this.#refresh());
  }

  async #refresh() {
    const era = this.#era;
    let token;
    try {
      token = await this.#newToken('expiring');
    } catch (error) {
      if (era !== this.#era) return;
      this.#report(error);
      this.#after('refresh', 10_000, () => this.#refresh());
      return;
    }
    // The same token again would change nothing: when it expires, the gateway says so.
    if (era !== this.#era || !token || token === this.#token) return;
    this.#token = token;
    this.#send({ type: 'auth', token });
  }

  // --- Losing the connection ------------------------------------------------------------------------------------

  /** Gives the connection up without waiting for the other side, which may be gone. */
  #lost(reason) {
    this.#drop(4000, reason);
    this.#wait(this.#backoff(), reason);
  }

  #closed(code, reason) {
    this.#drop();
    const why = REASONS[code] ?? (reason || 'no answer from the gateway');
    switch (code) {
      case CloseCode.FORBIDDEN:
      case CloseCode.POLICY:
        return this.#end(reason ? `${why}: ${reason}` : why, code);
      case CloseCode.UNAUTHENTICATED:
      case CloseCode.TOKEN_EXPIRED:
        this.#refusedToken = this.#token;
        if (!this.#options.getToken) return this.#end(why, code);
        // A new token is asked for at once, unless the last one was refused as well.
        return this.#wait(this.#refusals++ === 0 ? 0 : this.#backoff(), why, code);
      case CloseCode.TOO_MANY:
        return this.#wait(this.#options.tooManyWait * (0.5 + this.#options.random() / 2), why, code);
      case CloseCode.GOING_AWAY:
      case CloseCode.RESTARTING:
        if (this.#attempt === 0) {
          this.#attempt = 1;
          return this.#wait(this.#options.random() * this.#options.restartSpread, why, code);
        }
        return this.#wait(this.#backoff(), why, code);
      default:
        return this.#wait(this.#backoff(), why, code);
    }
  }

  /** Full jitter: anything up to a limit, which doubles each time. */
  #backoff() {
    const { backoffBase, backoffCap, random } = this.#options;
    const limit = Math.min(backoffCap, backoffBase * 2 ** Math.min(this.#attempt, 30));
    this.#attempt += 1;
    return random() * limit;
  }

  #wait(delay, reason, code) {
    this.#after('retry', delay, () => this.#open());
    const retryAt = this.#options.now() + delay;
    this.#become({ status: 'waiting', attempt: this.#attempt, delay, retryAt, reason, code });
  }

  #end(reason, code) {
    this.#drop(1000, reason);
    this.#become({ status: 'closed', reason, code });
  }

  #drop(code, reason) {
    this.#era += 1;
    for (const name of [...this.#timers.keys()]) this.#cancel(name);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket || code === undefined) return;
    try {
      socket.close(code, reason);
    } catch (error) {
      this.#report(error);
    }
  }

  // --- Small things ---------------------------------------------------------------------------------------------

  #send(frame) {
    const socket = this.#socket;
    if (!socket || socket.readyState !== 1) return;
    socket.send(JSON.stringify(frame));
  }

  #become(state) {
    this.#state = Object.freeze(state);
    this.#call('onState', this.#state);
  }

  /** Calls what the user gave. What goes wrong in there must not harm the connection. */
  #call(name, ...values) {
    try {
      this.#options[name]?.(...values);
    } catch (error) {
      this.#report(error);
    }
  }

  #report(error) {
    const { onError } = this.#options;
    try {
      if (onError) onError(error);
      else globalThis.console?.error('feedkit-client:', error);
    } catch {
      // Whoever fails at hearing of an error cannot be told of it.
    }
  }

  #after(name, wait, run) {
    this.#cancel(name);
    const step = Math.min(wait, LONGEST_TIMEOUT);
    const timer = this.#options.setTimeout(() => {
      this.#timers.delete(name);
      if (step < wait) this.#after(name, wait - step, run);
      else run();
    }, step);
    this.#timers.set(name, timer);
  }

  #cancel(name) {
    if (!this.#timers.has(name)) return;
    this.#options.clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}

/** Keeps the cursor in a `Storage`, such as `sessionStorage`. Use one key for each user. */
export function storageCursorStore(storage, key) {
  return {
    load: () => storage.getItem(key),
    save: (cursor) => storage.setItem(key, cursor),
  };
}

/** The last values that were added, up to a bound. */
class Recent {
  #values = new Set();
  #bound;

  constructor(bound) {
    this.#bound = bound;
  }

  /** Whether the value was not there. */
  add(value) {
    if (this.#values.has(value)) return false;
    this.#values.add(value);
    if (this.#values.size > this.#bound) this.#values.delete(this.#values.values().next().value);
    return true;
  }
}
