// What was told to the user, and for moderators the alerts with their evidence.

import { told } from './api.js';
import { announce, byId, el, setText } from './dom.js';
import { ago, count, moment, rate } from './format.js';

const KEPT = 100;
/** For a page that is open for days. */
const KEPT_ALERTS = 500;

/** A notification for the user: newest first, kept for the life of the tab. */
export class FeedView {
  #open;
  #storage;
  #key = null;
  #items = [];

  constructor(storage, open) {
    this.#storage = storage;
    this.#open = open;
    setInterval(() => freshen(byId('feed-list')), 15_000);
  }

  /** Another user, or none. */
  identity(claims) {
    this.#key = claims ? `feedkit-feed:${claims.user}` : null;
    this.#items = [];
    try {
      this.#items = JSON.parse(this.#key && this.#storage.getItem(this.#key)) ?? [];
    } catch {
      // Another version's.
    }
    byId('feed-list').replaceChildren(...this.#items.map((item) => this.#row(item, false)));
    setText(byId('feed-empty'), claims
      ? 'Nothing yet. You will be told here, for instance, when a post of yours reaches 100 likes.'
      : 'With a token, what is told to its user appears here.');
    this.#settle();
  }

  add(notification) {
    this.#items.unshift(notification);
    this.#items.length = Math.min(this.#items.length, KEPT);
    const list = byId('feed-list');
    list.prepend(this.#row(notification, true));
    while (list.children.length > KEPT) list.lastElementChild.remove();
    if (this.#key) this.#storage.setItem(this.#key, JSON.stringify(this.#items));
    this.#settle();
    announce(notification.title);
  }

  note(text) {
    setText(byId('feed-note'), text);
  }

  #settle() {
    byId('feed-empty').hidden = this.#items.length > 0;
    setText(byId('stat-told'), this.#key ? count(this.#items.length) : '–');
    setText(byId('stat-told-hint'), this.#key ? 'to you, in this tab' : 'need a token');
  }

  #row(notification, fresh) {
    const { type, severity, title, data, occurredAt } = notification;
    return el(
      'li',
      { 'data-severity': severity, 'data-id': notification.id, class: fresh && 'fresh' },
      el('span', { class: 'mark', 'aria-hidden': 'true' }),
      el('span', { class: 'title' }, title),
      time(occurredAt),
      el('p', { class: 'more' }, el('span', { class: 'chip' }, words(type)), postLink(data, this.#open), audience(notification)),
    );
  }
}

/** Alerts, with those that are over marked so. */
export class AlertsView {
  #api;
  #open;
  #alerts = new Map();
  #over = new Set();
  #next = null;
  #paged = false;
  #shown = false;

  constructor(api, open) {
    this.#api = api;
    this.#open = open;
    byId('alerts-more').addEventListener('click', () => this.#read(this.#next));
    setInterval(() => freshen(byId('alerts-list')), 15_000);
  }

  /** Shown to moderators only; to others the gateway would say nothing. */
  identity(claims) {
    this.#shown = claims?.roles.includes('moderator') ?? false;
    byId('alerts').hidden = !this.#shown;
    this.#alerts.clear();
    this.#over.clear();
    this.#next = null;
    this.#paged = false;
    byId('alerts-list').replaceChildren();
  }

  /** Reads the newest alerts; those raised while nobody listened are among them. */
  async refresh() {
    if (this.#shown) await this.#read();
  }

  add(notification) {
    if (!this.#shown || this.#known(notification)) return;
    this.#take(notification);
    const list = byId('alerts-list');
    if (isResolved(notification)) this.#resolve(notification);
    else list.prepend(this.#row(notification, true));
    this.#settle();
    announce(`Alert: ${notification.title}`);
  }

  async #read(cursor) {
    try {
      const { alerts, next } = await this.#api.alerts(cursor);
      for (const alert of alerts) if (!this.#known(alert)) this.#take(alert);
      // A look at the newest must not forget how far one has paged.
      if (cursor || !this.#paged) this.#next = next ?? null;
      this.#paged ||= Boolean(cursor);
      this.#paint();
      this.#settle();
    } catch (error) {
      this.#settle(told(error));
    }
  }

  #known({ id }) {
    return this.#alerts.has(id);
  }

  #take(alert) {
    this.#alerts.set(alert.id, alert);
    if (isResolved(alert)) this.#over.add(resolves(alert));
    if (this.#alerts.size <= KEPT_ALERTS) return;
    const oldest = [...this.#alerts.values()].reduce((a, b) => (Date.parse(b.occurredAt) < Date.parse(a.occurredAt) ? b : a));
    this.#alerts.delete(oldest.id);
    this.#over.delete(resolves(oldest));
    rowOf(oldest.id)?.remove();
  }

  #paint() {
    const rows = [...this.#alerts.values()].filter((alert) => !isResolved(alert));
    rows.sort((a, b) => Date.parse(b.occurredAt) - Date.parse(a.occurredAt));
    byId('alerts-list').replaceChildren(...rows.map((alert) => this.#row(alert, false)));
  }

  #resolve(notification) {
    const alert = this.#alerts.get(resolves(notification));
    if (alert) rowOf(alert.id)?.replaceWith(this.#row(alert, false));
  }

  #settle(problem) {
    const empty = byId('alerts-empty');
    const some = byId('alerts-list').children.length > 0;
    empty.hidden = some && !problem;
    setText(empty, problem ?? 'No alert. Unusual rates of likes, by post or by user, appear here with their evidence.');
    byId('alerts-more').hidden = !this.#next;
  }

  #row(alert, fresh) {
    const over = this.#over.has(alert.id);
    return el(
      'li',
      { 'data-severity': alert.severity, 'data-id': alert.id, 'data-over': String(over), class: fresh && 'fresh' },
      el('span', { class: 'mark', 'aria-hidden': 'true' }),
      el('span', { class: 'title' }, alert.title),
      time(alert.occurredAt),
      el('p', { class: 'more' }, el('span', { class: 'chip' }, words(alert.type)), over && 'over', postLink(alert.data, this.#open)),
      evidence(alert.data ?? {}),
    );
  }
}

const LEFT_OUT = new Set(['postId', 'rate', 'expected', 'sampleUsers']);

/** What the rule saw: rates side by side, its other figures, some of the users. */
function evidence({ rate: seen, expected, sampleUsers, ...rest }) {
  const most = Math.max(seen, expected);
  const bar = (label, value, hot) => [
    el('span', {}, label),
    el('span', { class: hot ? 'track hot' : 'track', 'aria-hidden': 'true' }, width(value / most)),
    el('span', {}, `${rate(value)}/s`),
  ];
  const figures = Object.entries(rest).filter(([name, value]) => !LEFT_OUT.has(name) && typeof value !== 'object');
  return el(
    'div',
    { class: 'evidence' },
    Number.isFinite(seen) && Number.isFinite(expected) &&
      el('p', { class: 'compare' }, bar('seen', seen, true), bar('usual', expected, false)),
    figures.length > 0 && el('dl', {}, figures.map(([name, value]) =>
      el('div', {}, el('dt', {}, words(name)), el('dd', {}, typeof value === 'number' ? rate(value) : String(value))))),
    Array.isArray(sampleUsers) && sampleUsers.length > 0 &&
      el('ul', { class: 'samples', 'aria-label': 'Some of the users' }, sampleUsers.map((user) => el('li', {}, String(user)))),
  );
}

function width(share) {
  const fill = el('span');
  fill.style.transform = `scaleX(${Math.min(1, Math.max(0.01, share || 0))})`;
  return fill;
}

function isResolved({ type }) {
  return type.endsWith('_RESOLVED');
}

function rowOf(id) {
  return [...byId('alerts-list').children].find((item) => item.dataset.id === id);
}

/** The id of the alert that this one ends. */
function resolves({ id }) {
  return id.replace(/:resolved$/, '');
}

function time(occurredAt) {
  const millis = Date.parse(occurredAt);
  return el('time', { datetime: occurredAt, title: moment(millis), 'data-millis': millis }, ago(millis, Date.now()));
}

function freshen(list) {
  for (const shown of list.querySelectorAll('time')) setText(shown, ago(Number(shown.dataset.millis), Date.now()));
}

function postLink(data, open) {
  const post = data?.postId;
  return typeof post === 'string' && el('button', { type: 'button', class: 'link', onclick: () => open(post) }, post);
}

function audience({ audience: to }) {
  if (to === 'all') return 'to everybody';
  return to?.post ? `to those who follow ${to.post}` : null;
}

/** FRAUD_RESOLVED and sampleUsers → "fraud resolved", "sample users". */
export function words(name) {
  return String(name).replace(/([a-z])([A-Z])/g, '$1 $2').replaceAll('_', ' ').toLowerCase();
}
