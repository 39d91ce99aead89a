// Timers that a test moves, and a WebSocket that a test answers.

/** Timers and a clock. `advance` runs what is due, in order; promises in between settle first. */
export class Time {
  now = 1_700_000_000_000;
  #timers = new Map();
  #next = 1;

  options() {
    return {
      now: () => this.now,
      setTimeout: (run, wait) => {
        const id = this.#next++;
        // As browsers do it: what does not fit into 31 bits fires at once.
        const taken = wait > 0 && wait < 2 ** 31 ? wait : 0;
        this.#timers.set(id, { run, at: this.now + taken });
        return id;
      },
      clearTimeout: (id) => this.#timers.delete(id),
    };
  }

  /** How many timers are set. */
  get set() {
    return this.#timers.size;
  }

  async advance(millis) {
    const end = this.now + millis;
    await settle();
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.now = Math.max(this.now, due[1].at);
      due[1].run();
      await settle();
    }
    this.now = end;
  }
}

/** Lets all promises that can settle do so. */
export async function settle() {
  for (let i = 0; i < 20; i += 1) await Promise.resolve();
}

/** A class of sockets, and those that were made. */
export function sockets() {
  const made = [];
  class FakeSocket {
    readyState = 0;
    sent = [];
    closedWith = null;

    constructor(url, protocols) {
      this.url = url;
      this.protocols = protocols;
      made.push(this);
    }

    send(text) {
      if (this.readyState !== 1) throw new Error('not open');
      this.sent.push(JSON.parse(text));
    }

    close(code, reason) {
      this.closedWith = { code, reason };
      this.readyState = 2;
    }

    // --- What the gateway does ---

    accept() {
      this.readyState = 1;
      this.onopen?.({});
    }

    say(frame) {
      this.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) });
    }

    end(code = 1006, reason = '') {
      this.readyState = 3;
      this.onerror?.({});
      this.onclose?.({ code, reason });
    }

    ready({ userId = 'u1', expiresAt = '2033-01-01T00:00:00Z' } = {}) {
      this.say({ type: 'ready', userId, expiresAt });
    }

    subscribed({ channels = ['me'], recovered = true, cursor = 'c0' } = {}) {
      this.say({ type: 'subscribed', channels, recovered, cursor });
    }

    notify(id, cursor, channel = 'me') {
      this.say({ type: 'notification', channel, cursor, notification: { id, type: 'MILESTONE', title: id } });
    }

    of(type) {
      return this.sent.filter((frame) => frame.type === type);
    }
  }
  return { FakeSocket, made, last: () => made.at(-1) };
}
