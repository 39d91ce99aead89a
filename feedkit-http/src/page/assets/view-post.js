// One post: counts, activity, comments, in a dialog with an address of its own (#post=ID).

import { eventOf, positionOf, send } from './actions.js';
import { told } from './api.js';
import { Chart } from './chart.js';
import { announce, byId, el, setText } from './dom.js';
import { ago, count, moment } from './format.js';
import { Poll } from './poll.js';
import { press, segments } from './segments.js';
import { bounds } from './series.js';
import { activityOf, SLOTS } from './view-activity.js';

const PAGE = 20;

export class PostView {
  #api;
  #dialog = byId('post-dialog');
  #chart = new Chart(byId('post-chart'));
  #claims = null;
  #hooks;
  #id = null;
  #by = 'hour';
  #counts = {};
  #author = null;
  #liked = false;
  #comments = new Map();
  #next = null;
  #paged = false;
  #after;
  #pushed = false;
  #soon = null;
  #poll = new Poll(15_000, () => this.#refresh());

  /** `listen(id)` and `leave(id)` hear which post is looked at; `sent(exchange)` of what is sent from here. */
  constructor(api, hooks) {
    this.#api = api;
    this.#hooks = hooks;
    byId('post-close').addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('click', (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
    this.#dialog.addEventListener('close', () => this.#closed());
    segments(byId('post-by'), (by) => {
      this.#by = by;
      this.#readActivity();
    });
    byId('post-like').addEventListener('click', () => this.#act(this.#liked ? 'unlike' : 'like'));
    byId('post-more').addEventListener('click', () => this.#readComments(this.#next));
    byId('post-comment-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#act('comment', byId('post-comment').value);
    });
    addEventListener('hashchange', () => this.fromAddress());
  }

  /** Opens what the address names. */
  fromAddress() {
    const id = addressed(location.hash);
    if (id && id !== this.#id) this.#show(id);
    else if (!id && this.#id) {
      this.#pushed = false;
      this.#dialog.close();
    }
  }

  open(id) {
    this.#pushed = true;
    location.hash = `post=${encodeURIComponent(id)}`;
  }

  identity(claims) {
    this.#claims = claims;
    byId('post-like').hidden = !claims;
    byId('post-comment-form').hidden = !claims;
    if (this.#id) this.#poll.now();
  }

  /** The connection is back, or something was done: what is shown may be old. */
  refresh() {
    if (this.#id) this.#poll.now();
  }

  counts(postId, counts) {
    if (postId !== this.#id) return;
    const more = (counts.comment ?? 0) !== (this.#counts.comment ?? 0);
    this.#counts = counts;
    this.#paintCounts();
    if (more) this.#commentsSoon();
  }

  /** A post that goes viral gets comments all the time: they are asked for once a second. */
  #commentsSoon() {
    this.#soon ??= setTimeout(() => {
      this.#soon = null;
      if (this.#id) this.#readComments();
    }, 1000);
  }

  /** Something was done to `postId`; what lies before `position` is to be seen. */
  done(postId, position) {
    if (postId !== this.#id) return;
    this.#after = position;
    this.#poll.now();
  }

  #show(id) {
    if (this.#id) this.#hooks.leave(this.#id);
    this.#id = id;
    this.#counts = {};
    this.#author = null;
    this.#liked = false;
    this.#comments = new Map();
    this.#next = null;
    this.#paged = false;
    this.#after = undefined;
    setText(byId('post-title'), id);
    setText(byId('post-author'), '');
    setText(byId('post-said'), '');
    byId('post-error').hidden = true;
    byId('post-comments').replaceChildren();
    byId('post-comments-empty').hidden = true;
    byId('post-more').hidden = true;
    this.#paintCounts();
    press(byId('post-by'), this.#by);
    this.#dialog.scrollTop = 0;
    if (!this.#dialog.open) this.#dialog.showModal();
    byId('post-title').focus();
    this.#chart.draw({ ...activityOf(id, this.#by, [], bounds(this.#by, SLOTS[this.#by], Date.now())), empty: 'Loading…' });
    this.#hooks.listen(id);
    this.#poll.now();
  }

  #closed() {
    if (!this.#id) return;
    this.#hooks.leave(this.#id);
    this.#id = null;
    if (!addressed(location.hash)) return;
    // The address goes back to what it was; "back" does not open the post again.
    if (this.#pushed) history.back();
    else history.replaceState(history.state, '', location.pathname + location.search);
    this.#pushed = false;
  }

  async #refresh() {
    if (!this.#id) return;
    const after = this.#after;
    await Promise.all([this.#readPost(after), this.#readComments(undefined, after), this.#readActivity(after)]);
  }

  async #readPost(after) {
    const id = this.#id;
    const error = byId('post-error');
    try {
      const post = await this.#api.post(id, after);
      if (id !== this.#id) return;
      this.#counts = { like: post.likes, comment: post.comments, ...post.counts };
      this.#author = post.author;
      setText(byId('post-author'), [post.author ? `by ${post.author}` : 'author not known yet',
        post.source === 'history' ? 'counts from the history' : ''].filter(Boolean).join(' · '));
      error.hidden = true;
    } catch (problem) {
      if (id !== this.#id) return;
      error.hidden = problem.status === 404;
      setText(error, problem.status === 404 ? '' : told(problem));
      if (problem.status === 404) setText(byId('post-author'), 'Nothing has happened to this post yet.');
      else if (problem.status !== 504) throw problem;
    }
    if (this.#claims) {
      const { liked } = await this.#api.liked([id], after).catch(() => ({ liked: [] }));
      if (id === this.#id) this.#liked = liked.includes(id);
    }
    this.#paintCounts();
  }

  #paintCounts() {
    const { like = 0, comment = 0, post: _, ...others } = this.#counts;
    const figures = [['likes', like], ['comments', comment], ...Object.entries(others)];
    const list = byId('post-counts');
    if (list.children.length !== figures.length) {
      list.replaceChildren(...figures.map(() => el('div', {}, el('dt'), el('dd'))));
    }
    figures.forEach(([name, value], i) => {
      const [term, figure] = list.children[i].children;
      setText(term, value === 1 ? name.replace(/s$/, '') : name);
      setText(figure, count(value));
    });
    const button = byId('post-like');
    button.setAttribute('aria-pressed', String(this.#liked));
    setText(button, this.#liked ? 'Liked' : 'Like');
  }

  async #readActivity(after) {
    const [id, by] = [this.#id, this.#by];
    const range = bounds(by, SLOTS[by], Date.now());
    try {
      const { buckets } = await this.#api.activity(id, by, range, after);
      if (id === this.#id && by === this.#by) this.#chart.draw(activityOf(id, by, buckets, range));
    } catch (error) {
      if (id === this.#id && by === this.#by) this.#chart.draw({ ...activityOf(id, by, [], range), empty: told(error) });
    }
  }

  /** The newest comments, or with a cursor those before. */
  async #readComments(cursor, after) {
    const id = this.#id;
    try {
      const { comments, next } = await this.#api.comments(id, { cursor, limit: PAGE, after });
      if (id !== this.#id) return;
      // Until one pages back, the newest are all that is shown, and kept.
      if (!cursor && !this.#paged) this.#comments.clear();
      for (const comment of comments) this.#comments.set(`${comment.id} ${comment.userId}`, comment);
      if (cursor || !this.#paged) this.#next = next ?? null;
      this.#paged ||= Boolean(cursor);
      this.#paintComments();
    } catch (error) {
      if (id === this.#id && error.status !== 404) setText(byId('post-said'), told(error));
      if (id === this.#id) this.#paintComments();
    }
  }

  #paintComments() {
    const all = [...this.#comments.values()].sort((a, b) =>
      Date.parse(b.timestamp) - Date.parse(a.timestamp) || (a.id < b.id ? 1 : -1));
    byId('post-comments').replaceChildren(...all.map(({ userId, text, timestamp }) => {
      const millis = Date.parse(timestamp);
      return el('li', {},
        el('span', { class: 'author' }, userId),
        el('time', { datetime: timestamp, title: moment(millis) }, ago(millis, Date.now())),
        el('p', { class: 'text', dir: 'auto' }, text ?? ''));
    }));
    byId('post-comments-empty').hidden = all.length > 0;
    byId('post-more').hidden = !this.#next;
  }

  async #act(type, text) {
    const id = this.#id;
    const said = byId('post-said');
    const exchange = await send(this.#api, eventOf({ userId: this.#claims.user, postId: id, type, text }));
    this.#hooks.sent(exchange);
    const position = positionOf(exchange);
    if (id !== this.#id) return;
    if (position === undefined) {
      setText(said, `Not accepted: ${exchange.answer.json?.detail ?? exchange.answer.body}`);
      return;
    }
    setText(said, '');
    if (type === 'comment') byId('post-comment').value = '';
    else this.#liked = type === 'like';
    this.#paintCounts();
    announce({ like: 'Liked', unlike: 'Like taken back', comment: 'Comment sent' }[type]);
    this.done(id, position);
  }
}

/** The post that a fragment names. */
export function addressed(hash) {
  const part = hash.replace(/^#/, '').split('&').find((part) => part.startsWith('post='));
  try {
    return part ? decodeURIComponent(part.slice('post='.length)) : null;
  } catch {
    return null;
  }
}
