// Sums by minute or second, and the pace of a counter.

/** Sums of the last `slots` spans of `span` milliseconds; what is older falls out. */
export class Ring {
  constructor(slots, span) {
    this.span = span;
    this.values = new Array(slots).fill(0);
    /** The number of the newest span, counted from 1970; `null` while there is none. */
    this.newest = null;
    /** The first span that was seen whole or in part. */
    this.first = null;
  }

  /** Adds to the span of `now`. What belongs to a span that has fallen out is left out. */
  add(value, now) {
    this.advance(now);
    const slot = Math.floor(now / this.span);
    if (slot <= this.newest - this.values.length) return;
    this.values[slot % this.values.length] += value;
  }

  /** Lets spans pass in which nothing came. */
  advance(now) {
    const slot = Math.floor(now / this.span);
    if (this.newest === null) {
      this.newest = slot;
      this.first = slot;
      return;
    }
    const passed = Math.min(slot - this.newest, this.values.length);
    for (let i = 0; i < passed; i += 1) this.values[(slot - i) % this.values.length] = 0;
    this.newest = Math.max(this.newest, slot);
  }

  /** All spans, oldest first: `{start, value, seen}`. `seen` is false for those before the first. */
  series() {
    if (this.newest === null) return [];
    const slots = this.values.length;
    return Array.from({ length: slots }, (_, i) => {
      const slot = this.newest - slots + 1 + i;
      return { start: slot * this.span, value: this.values[((slot % slots) + slots) % slots], seen: slot >= this.first };
    });
  }

  /** The sum of all spans. */
  total() {
    return this.values.reduce((sum, value) => sum + value, 0);
  }

  /** As an object that JSON takes. */
  save() {
    return { span: this.span, newest: this.newest, first: this.first, values: this.values };
  }

  /** A saved ring of the same shape; a new one if it does not fit. */
  static load(saved, slots, span) {
    const ring = new Ring(slots, span);
    const fits =
      saved?.span === span &&
      Array.isArray(saved.values) &&
      saved.values.length === slots &&
      saved.values.every(Number.isFinite) &&
      Number.isInteger(saved.newest) &&
      Number.isInteger(saved.first);
    if (fits) Object.assign(ring, { values: [...saved.values], newest: saved.newest, first: saved.first });
    return ring;
  }
}

/** Readings that are closer together say little of a pace. */
const CLOSEST = 500;

/** The pace of a counter that only rises, and starts from 0 with its process. */
export class Pace {
  #last = null;

  /**
   * What was added since the last reading, and a second: `{added, perSecond}`. `null` at the first, and for one that
   * comes too soon: that one is left to the next.
   */
  read(value, now) {
    const last = this.#last;
    if (!Number.isFinite(value)) return null;
    if (last !== null && now < last.now + CLOSEST) return null;
    this.#last = { value, now };
    if (last === null) return null;
    // A lower value: the process is another one, and has counted from 0.
    const added = value >= last.value ? value - last.value : value;
    return { added, perSecond: (added * 1000) / (now - last.now) };
  }

  /** The next reading is the first again. */
  forget() {
    this.#last = null;
  }
}
