// Stacked bars, as numbers and as SVG. For those who do not see them, the same as a table.

import { el, svg } from './dom.js';
import { count, short } from './format.js';

/** A round number at or above `value`, and how far its lines are apart. */
export function scale(value, lines = 4) {
  if (!(value > 0)) return { max: 1, step: 1 };
  const rough = value / lines;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, [1, 2, 5, 10].find((factor) => factor * power >= rough - 1e-9) * power);
  return { max: Math.ceil(value / step - 1e-9) * step, step };
}

/**
 * Where the bars go. `bars` is `[{parts: [number…]}]`; what is below 0 (more was taken back than given) has no
 * height. Answers `{bars: [{x, width, parts: [{y, height}]}], lines: [{y, value}], max}`.
 */
export function layout(bars, { width, height, left = 0, bottom = 0, top = 0 }) {
  const positive = (part) => Math.max(0, part);
  const totals = bars.map(({ parts }) => parts.reduce((sum, part) => sum + positive(part), 0));
  const { max, step } = scale(Math.max(0, ...totals));
  const room = height - bottom - top;
  const slot = bars.length > 0 ? (width - left) / bars.length : 0;
  const gap = slot > 6 ? Math.min(6, slot * 0.22) : slot * 0.1;
  const y = (value) => top + room - (value / max) * room;
  return {
    max,
    bars: bars.map(({ parts }, i) => {
      let below = 0;
      return {
        x: left + i * slot + gap / 2,
        width: Math.max(0.5, slot - gap),
        parts: parts.map((part) => {
          const from = below;
          below += positive(part);
          return { y: y(below), height: y(from) - y(below) };
        }),
      };
    }),
    lines: Array.from({ length: Math.round(max / step) + 1 }, (_, i) => ({ y: y(i * step), value: i * step })),
  };
}

/** Which bars get a label, so that none touches the next. */
export function labelled(bars, width, room = 56) {
  const most = Math.max(1, Math.floor(width / room));
  const every = Math.max(1, Math.ceil(bars / most));
  // Counted from the end: the newest bar always has one.
  return Array.from({ length: bars }, (_, i) => (bars - 1 - i) % every === 0);
}

/**
 * A chart that fills `host`. `draw({title, series, bars, label, name, empty})`: `series` names the parts, `bars` is
 * `[{start, parts}]`, `label(start)` is written below a bar, `name(start)` says its whole name.
 */
export class Chart {
  #host;
  #svg = svg('svg', { class: 'chart', role: 'img', tabindex: '0' });
  #readout = el('p', { class: 'readout', 'aria-hidden': 'true' });
  #spoken = el('p', { class: 'visually-hidden', 'aria-live': 'polite' });
  #legend = el('ul', { class: 'legend' });
  #table = el('table', {});
  #details = el('details', { class: 'as-table' }, el('summary', {}, 'As a table'), this.#table);
  #data = null;
  #chosen = null;
  #geometry = null;

  constructor(host) {
    this.#host = host;
    host.replaceChildren(
      el('div', { class: 'chart-head' }, this.#legend, this.#readout), this.#svg, this.#spoken, this.#details);
    this.#svg.addEventListener('pointermove', (event) => this.#point(event));
    this.#svg.addEventListener('pointerleave', () => this.#choose(null));
    this.#svg.addEventListener('blur', () => this.#choose(null));
    this.#svg.addEventListener('keydown', (event) => this.#key(event));
    this.#details.addEventListener('toggle', () => this.#fillTable());
    if (globalThis.ResizeObserver) new ResizeObserver(() => this.#render()).observe(this.#svg);
  }

  draw(data) {
    if (this.#data?.bars.length !== data.bars.length) this.#chosen = null;
    this.#data = data;
    this.#render();
    this.#fillTable();
  }

  #render() {
    const data = this.#data;
    const { clientWidth: width, clientHeight: height } = this.#svg;
    if (!data || width === 0) return;
    const { series, bars } = data;
    const space = { width, height, left: 34, bottom: 20, top: 6 };
    const place = layout(bars, space);
    this.#geometry = { ...space, slot: (width - space.left) / Math.max(1, bars.length) };
    this.#svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.#svg.setAttribute('aria-label', summary(data));
    const shown = labelled(bars.length, width - space.left);
    const nothing = bars.every(({ parts }) => parts.every((part) => !(part > 0)));

    const grid = place.lines.flatMap(({ y, value }) => [
      svg('line', { class: 'grid', x1: space.left, x2: width, y1: y, y2: y }),
      svg('text', { class: 'axis', x: space.left - 6, y: y + 3.5, 'text-anchor': 'end' }, short(value)),
    ]);
    const drawn = place.bars.map(({ x, width: wide, parts }, i) => svg(
      'g',
      { class: i === this.#chosen ? 'bar chosen' : 'bar' },
      parts.map(({ y, height: high }, part) => high > 0 && svg('rect', {
        class: `part kind-${series[part].color}`, x, y, width: wide, height: high, rx: Math.min(2, wide / 3),
      })),
    ));
    const labels = bars.map(({ start }, i) => shown[i] && svg('text', {
      class: 'axis', x: space.left + (i + 0.5) * this.#geometry.slot, y: height - 5,
      'text-anchor': 'middle',
    }, data.label(start)));
    const empty = nothing && svg('text', {
      class: 'empty', x: (width + space.left) / 2, y: (height - space.bottom) / 2 + 4, 'text-anchor': 'middle',
    }, data.empty);
    this.#svg.replaceChildren(...[...grid, ...drawn, ...labels, empty].filter(Boolean));

    this.#legend.replaceChildren(...(series.length > 1 ? series : []).map(({ name, color }) =>
      el('li', {}, el('span', { class: `swatch kind-${color}` }), name)));
    this.#say();
  }

  #say() {
    const { bars = [], series = [], name } = this.#data ?? {};
    const bar = this.#chosen === null ? null : bars[this.#chosen];
    const text = bar ? `${name(bar.start)}: ${spell(series, bar.parts)}` : '';
    this.#readout.textContent = text || (this.#data?.note ?? '');
    this.#readout.classList.toggle('chosen', text !== '');
    if (this.#spoken.textContent !== text && this.#svg.matches(':focus')) this.#spoken.textContent = text;
  }

  #choose(index) {
    if (this.#chosen === index) return;
    this.#chosen = index;
    [...this.#svg.querySelectorAll('.bar')].forEach((bar, i) => bar.classList.toggle('chosen', i === index));
    this.#say();
  }

  #point(event) {
    if (!this.#geometry || !this.#data) return;
    const { left, slot } = this.#geometry;
    const at = Math.floor((event.clientX - this.#svg.getBoundingClientRect().left - left) / slot);
    this.#choose(at >= 0 && at < this.#data.bars.length ? at : null);
  }

  #key(event) {
    const last = (this.#data?.bars.length ?? 0) - 1;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (last < 0) return;
    if (step) this.#choose(Math.min(last, Math.max(0, (this.#chosen ?? last + 1) + step)));
    else if (event.key === 'Home') this.#choose(0);
    else if (event.key === 'End') this.#choose(last);
    else return;
    event.preventDefault();
  }

  #fillTable() {
    if (!this.#details.open || !this.#data) return;
    const { title, series, bars, name } = this.#data;
    const rows = bars.filter(({ parts }) => parts.some(Boolean)).map(({ start, parts }) =>
      el('tr', {}, el('th', { scope: 'row' }, name(start)), parts.map((part) => el('td', {}, count(part)))));
    this.#table.replaceChildren(
      el('caption', {}, title),
      el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Time'),
        series.map((part) => el('th', { scope: 'col' }, part.name)))),
      el('tbody', {}, rows.length > 0 ? rows : el('tr', {}, el('td', { colspan: series.length + 1 }, this.#data.empty))),
    );
  }
}

function spell(series, parts) {
  return series.map(({ name }, i) => `${count(parts[i])} ${name}`).join(', ');
}

/** One sentence that says what the bars show. */
export function summary({ title, series, bars, name, empty }) {
  const totals = bars.map(({ parts }) => parts.reduce((sum, part) => sum + part, 0));
  const most = Math.max(0, ...totals);
  if (most === 0) return `${title}. ${empty}`;
  const at = totals.indexOf(most);
  const all = series.map((_, part) => bars.reduce((sum, bar) => sum + bar.parts[part], 0));
  return `${title}. ${spell(series, all)} in all; most at ${name(bars[at].start)}: ${count(most)}.`;
}

/** A line without axes, for the last readings of a number: points for an SVG path of this size. */
export function sparkline(values, width, height) {
  if (values.length < 2) return '';
  const most = Math.max(1e-9, ...values);
  const step = width / (values.length - 1);
  return values
    .map((value, i) => `${i === 0 ? 'M' : 'L'}${(i * step).toFixed(1)} ${(height - (value / most) * height).toFixed(1)}`)
    .join('');
}
