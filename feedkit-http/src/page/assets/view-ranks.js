// A list of posts whose rows move to their new places.

import { el, setText, still } from './dom.js';
import { count } from './format.js';

export class RankList {
  #list;
  #empty;
  #rows = new Map();
  #open;

  /** `open(postId)` is called when a row is chosen. */
  constructor(list, empty, open) {
    this.#list = list;
    this.#empty = empty;
    this.#open = open;
  }

  /** Shows rows of `{postId, share, value, unit, gain}`; `share` is 0 to 1. Without rows, `empty` says why. */
  show(rows, empty) {
    const before = new Map([...this.#rows].map(([id, row]) => [id, row.item.offsetTop]));
    const focused = this.#list.contains(document.activeElement) ? document.activeElement : null;
    const wanted = new Set(rows.map((row) => row.postId));
    for (const [id, row] of this.#rows) {
      if (wanted.has(id)) continue;
      row.item.remove();
      this.#rows.delete(id);
    }
    rows.forEach((row, index) => {
      const shown = this.#rows.get(row.postId) ?? this.#add(row.postId);
      this.#fill(shown, row, index);
      // Moving only what is out of place keeps the focus where it is, mostly.
      if (this.#list.children[index] !== shown.item) this.#list.insertBefore(shown.item, this.#list.children[index] ?? null);
    });
    if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
    this.#empty.hidden = rows.length > 0;
    setText(this.#empty, rows.length > 0 ? '' : empty);
    if (!still()) this.#glide(before);
  }

  #add(postId) {
    const place = el('span', { class: 'place' });
    const gain = el('span', { class: 'gain' });
    const value = el('b');
    const unit = el('small');
    const fill = el('span');
    const button = el(
      'button',
      { type: 'button', class: 'rank', 'data-post': postId, onclick: () => this.#open(postId) },
      place,
      el('span', { class: 'name', title: postId }, postId),
      el('span', { class: 'value' }, gain, value, unit),
      el('span', { class: 'track', 'aria-hidden': 'true' }, fill),
    );
    button.addEventListener('animationend', () => button.classList.remove('moved'));
    const row = { item: el('li', {}, button), button, place, gain, value, unit, fill, last: null };
    this.#rows.set(postId, row);
    return row;
  }

  #fill(row, { share, value, unit, gain }, index) {
    setText(row.place, String(index + 1));
    setText(row.value, value);
    setText(row.unit, unit);
    setText(row.gain, gain > 0 ? `+${count(gain)}/min` : '');
    row.fill.style.transform = `scaleX(${Math.max(0.004, share)})`;
    if (row.last !== null && row.last !== value) {
      row.button.classList.remove('moved');
      requestAnimationFrame(() => row.button.classList.add('moved'));
    }
    row.last = value;
  }

  /** Each row starts where it was, and glides to where it is. */
  #glide(before) {
    for (const [id, { item }] of this.#rows) {
      const from = before.get(id);
      if (from === undefined) {
        item.animate({ opacity: [0, 1] }, { duration: 300, easing: 'ease-out' });
      } else if (from !== item.offsetTop) {
        item.animate(
          { transform: [`translateY(${from - item.offsetTop}px)`, 'none'] },
          { duration: 420, easing: 'cubic-bezier(0.2, 0, 0, 1)' },
        );
      }
    }
  }
}
