// Top posts and trending.

import { told } from './api.js';
import { byId, setText } from './dom.js';
import { count, rate } from './format.js';
import { Poll } from './poll.js';
import { Ranking } from './ranking.js';
import { Ring } from './ring.js';
import { segments } from './segments.js';
import { RankList } from './view-ranks.js';

const SHOWN = 10;
const TRENDING = 8;

export class TopView {
  #api;
  #window = 'all';
  #ranking = new Ranking(SHOWN);
  #gains = new Map();
  #rows;
  #trendingRows;
  #failed = null;
  #painting = false;
  #onPosts;

  /** `open(postId)` shows one post; `onPosts(ids)` hears which are shown; `reached(error)` whether reads work. */
  constructor(api, { open, onPosts, reached }) {
    this.#api = api;
    this.#onPosts = onPosts;
    this.#rows = new RankList(byId('top-list'), byId('top-empty'), open);
    this.#trendingRows = new RankList(byId('trending-list'), byId('trending-empty'), open);
    this.polls = [new Poll(2000, () => this.#readTop(reached)), new Poll(4000, () => this.#readTrending())];
    segments(byId('top-window'), (value) => {
      this.#window = value;
      this.#ranking.clear();
      this.polls[0].now();
    });
  }

  /** Asks for everything anew. */
  refresh() {
    for (const poll of this.polls) poll.now();
  }

  /** The newest counts of a post. They are of all time, so that they say nothing of a window. */
  counts(postId, counts, now = Date.now()) {
    if (this.#window !== 'all' || !Number.isFinite(counts.like)) return;
    const before = this.#ranking.first().find((post) => post.postId === postId);
    if (!this.#ranking.counts(postId, counts.like, now)) return;
    if (before && counts.like > before.likes) this.#gain(postId, counts.like - before.likes, now);
    this.#paintSoon();
  }

  async #readTop(reached) {
    const askedAt = Date.now();
    const window = this.#window;
    try {
      const { posts, source } = await this.#api.top('likes', window, SHOWN);
      if (window !== this.#window) return;
      const known = new Map(this.#ranking.first().map((post) => [post.postId, post.likes]));
      this.#ranking.answer(posts, askedAt);
      for (const { postId, likes } of this.#ranking.first()) {
        if (known.has(postId) && likes > known.get(postId)) this.#gain(postId, likes - known.get(postId), askedAt);
      }
      this.#failed = null;
      setText(byId('top-note'), note(source, window));
      reached(null);
    } catch (error) {
      this.#failed = told(error);
      reached(error);
      throw error;
    } finally {
      this.#paint();
    }
  }

  async #readTrending() {
    try {
      const { posts } = await this.#api.top('trending', undefined, TRENDING);
      const most = Math.max(...posts.map((post) => post.score ?? 0), 1e-300);
      this.#trendingRows.show(posts.map(({ postId, score }) => ({
        postId, share: (score ?? 0) / most, value: rate(score), unit: '', gain: 0,
      })), 'Nothing trends. Likes of the last hours will show here.');
    } catch (error) {
      this.#trendingRows.show([], told(error));
      throw error;
    }
  }

  #gain(postId, likes, now) {
    if (!this.#gains.has(postId)) this.#gains.set(postId, new Ring(12, 5000));
    this.#gains.get(postId).add(likes, now);
  }

  /** Frames come in bursts: one painting for all of them. */
  #paintSoon() {
    if (this.#painting) return;
    this.#painting = true;
    requestAnimationFrame(() => {
      this.#painting = false;
      this.#paint();
    });
  }

  #paint() {
    const posts = this.#ranking.first();
    const now = Date.now();
    const most = Math.max(1, ...posts.map((post) => post.likes));
    const shown = new Set(posts.map((post) => post.postId));
    for (const id of this.#gains.keys()) if (!shown.has(id)) this.#gains.delete(id);
    this.#rows.show(posts.map(({ postId, likes }) => ({
      postId, share: likes / most, value: count(likes), unit: likes === 1 ? ' like' : ' likes', gain: this.#gainOf(postId, now),
    })), this.#failed ?? 'No post has a like yet. Send one with the form.');
    this.#onPosts(posts.map((post) => post.postId));
  }

  #gainOf(postId, now) {
    const ring = this.#gains.get(postId);
    ring?.advance(now);
    return ring?.total() ?? 0;
  }
}

function note(source, window) {
  if (window !== 'all') return 'Counted by the hour, from the history.';
  return source === 'history' ? 'From the history: the live counters are away.' : '';
}
