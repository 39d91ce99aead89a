// Events a second, by the gateway's own counter.

import { sparkline } from './chart.js';
import { byId, setText } from './dom.js';
import { clock, count, rate, short } from './format.js';
import { sum } from './metrics.js';
import { Poll } from './poll.js';
import { Pace, Ring } from './ring.js';

/** The gateway's counter, by either of its names. */
const ACCEPTED = ['feedkit_events_accepted_total', 'feedkit_gateway_events_accepted_total'];
const KEY = 'feedkit-minutes';
const MINUTE = 60_000;
/** Readings that the line shows, one a second. */
const READINGS = 60;

export class StatsView {
  #api;
  #pace = new Pace();
  #rates = [];
  #onMinute;
  minutes;

  /** `onMinute()` is called when the sums by minute have changed. */
  constructor(api, storage, onMinute) {
    this.#api = api;
    this.#onMinute = onMinute;
    this.minutes = restored(storage);
    this.polls = [new Poll(1000, () => this.#read())];
    addEventListener('pagehide', () => storage.setItem(KEY, JSON.stringify(this.minutes.save())));
  }

  refresh() {
    for (const poll of this.polls) poll.now();
  }

  async #read() {
    let total;
    try {
      const text = await this.#api.text('metrics');
      total = ACCEPTED.map((name) => sum(text, name)).find((found) => found !== null) ?? null;
    } catch (error) {
      this.#pace.forget();
      this.#rates = [];
      this.#show(null);
      throw error;
    }
    const now = Date.now();
    const reading = this.#pace.read(total, now);
    if (reading) {
      this.minutes.add(reading.added, now);
      this.#rates.push(reading.perSecond);
      if (this.#rates.length > READINGS) this.#rates.shift();
    } else {
      this.minutes.advance(now);
    }
    this.#show(total);
    this.#onMinute();
  }

  #show(total) {
    // One reading is coarse when the gateway answers unevenly; three are calm.
    const last = this.#rates.slice(-3);
    const mean = last.length > 0 ? last.reduce((a, b) => a + b) / last.length : NaN;
    setText(byId('stat-rate'), rate(mean));
    setText(byId('stat-total'), total === null ? '–' : total >= 1e7 ? short(total) : count(total));
    const [area, line] = byId('stat-spark').children;
    const path = sparkline(this.#rates, 120, 30);
    line.setAttribute('d', path && `${path}`);
    area.setAttribute('d', path && `${path}L120 32L0 32Z`);
    const peak = this.minutes.series().reduce((most, slot) => (slot.value > (most?.value ?? 0) ? slot : most), null);
    setText(byId('stat-peak'), peak ? count(peak.value) : '–');
    setText(byId('stat-peak-when'), peak ? `events, at ${clock(peak.start)}` : 'of the last hour');
  }
}

/** The sums of this tab from before a reload; not from long before, when nobody counted. */
function restored(storage) {
  let saved = null;
  try {
    saved = JSON.parse(storage.getItem(KEY));
  } catch {
    // Another version's.
  }
  const recent = saved && Date.now() / MINUTE - saved.newest < 2;
  return Ring.load(recent ? saved : null, 60, MINUTE);
}
