// Activity by minute (everything, as this page has seen it), and by hour or day (one post, from the history).

import { told } from './api.js';
import { Chart } from './chart.js';
import { byId, el } from './dom.js';
import { clock, day, moment } from './format.js';
import { Poll } from './poll.js';
import { segments } from './segments.js';
import { bounds, filled, kinds } from './series.js';

const COLORS = ['like', 'comment', 'post'];
const NAMES = { like: 'likes', comment: 'comments', post: 'posts' };

/** What a chart of one post's activity is drawn from. */
export function activityOf(post, by, buckets, range) {
  const bars = filled(buckets, by, range);
  const found = kinds(bars);
  const shown = found.length > 0 ? found : ['like'];
  return {
    title: `Activity of ${post} by ${by}`,
    series: shown.map((kind) => ({ name: NAMES[kind] ?? kind, color: COLORS.includes(kind) ? kind : 'other' })),
    bars: bars.map(({ start, counts }) => ({ start, parts: shown.map((kind) => counts[kind] ?? 0) })),
    label: by === 'day' ? day : clock,
    name: by === 'day' ? day : moment,
    empty: by === 'day' ? 'Nothing in the last 30 days' : 'Nothing in the last 24 hours',
  };
}

/** How many hours or days are shown. */
export const SLOTS = { hour: 24, day: 30 };

export class ActivityView {
  #api;
  #minutes;
  #chart = new Chart(byId('activity-chart'));
  #by = 'minute';
  #posts = [];
  #chosen = '';
  #select = byId('activity-post');

  constructor(api, minutes) {
    this.#api = api;
    this.#minutes = minutes;
    this.polls = [new Poll(10_000, () => this.#read())];
    segments(byId('activity-by'), (by) => {
      this.#by = by;
      byId('activity-post-label').hidden = by === 'minute';
      this.minute();
      this.refresh();
    });
    this.#select.addEventListener('change', () => {
      this.#chosen = this.#select.value;
      this.refresh();
    });
  }

  refresh() {
    for (const poll of this.polls) poll.now();
  }

  /** The sums by minute have changed. */
  minute() {
    if (this.#by !== 'minute') return;
    const slots = this.#minutes().series();
    const since = slots.find((slot) => slot.seen)?.start;
    this.#chart.draw({
      title: 'Events by minute in the last hour',
      series: [{ name: 'events', color: 'like' }],
      bars: slots.map(({ start, value }) => ({ start, parts: [value] })),
      label: clock,
      name: clock,
      note: since === undefined ? '' : `All events at this gateway, seen since ${clock(since)}`,
      empty: 'No event yet in the last hour',
    });
  }

  /** The posts one can choose from; the first is shown unless another one is chosen. */
  posts(ids) {
    if (ids.join() === this.#posts.join()) return;
    const first = this.#posts[0];
    this.#posts = ids;
    // A list that is open must not change below the pointer.
    if (document.activeElement !== this.#select) this.#options();
    if (this.#by !== 'minute' && this.#chosen === '' && ids[0] !== first) this.refresh();
  }

  #options() {
    const ids = this.#chosen && !this.#posts.includes(this.#chosen) ? [this.#chosen, ...this.#posts] : this.#posts;
    this.#select.replaceChildren(
      el('option', { value: '' }, `the top post${this.#posts[0] ? ` (${this.#posts[0]})` : ''}`),
      ids.map((id) => el('option', { value: id }, id)).reduce((all, one) => (all.append(one), all), document.createDocumentFragment()),
    );
    this.#select.value = this.#chosen;
  }

  async #read() {
    const by = this.#by;
    if (by === 'minute') return;
    const post = this.#chosen || this.#posts[0];
    const range = bounds(by, SLOTS[by], Date.now());
    if (!post) return this.#chart.draw({ ...activityOf('', by, [], range), empty: 'No post yet' });
    try {
      const { buckets } = await this.#api.activity(post, by, range);
      if (by === this.#by) this.#chart.draw(activityOf(post, by, buckets, range));
    } catch (error) {
      if (by === this.#by) this.#chart.draw({ ...activityOf(post, by, [], range), empty: told(error) });
      throw error;
    }
  }
}
