// The most liked posts, from answers and from counts that arrive in between.

/** Most posts that are remembered beyond those shown. */
const REMEMBERED = 200;

export class Ranking {
  #posts = new Map();

  constructor(limit) {
    this.limit = limit;
  }

  /**
   * Takes the gateway's list, asked for at `askedAt`. Counts that arrived since then are newer, and stay.
   */
  answer(posts, askedAt) {
    const listed = new Set(posts.map((post) => post.postId));
    for (const [id, known] of this.#posts) {
      // No longer among the first; unless it came there while the answer was on its way.
      if (!listed.has(id) && known.at <= askedAt) this.#posts.delete(id);
    }
    for (const { postId, likes } of posts) {
      const known = this.#posts.get(postId);
      if (!known || known.at <= askedAt) this.#posts.set(postId, { likes, at: askedAt });
    }
  }

  /** Takes the newest likes of one post. Whether the list that is shown may have changed. */
  counts(postId, likes, now) {
    if (!Number.isFinite(likes)) return false;
    const known = this.#posts.get(postId);
    if (known?.likes === likes) {
      known.at = now;
      return false;
    }
    this.#posts.set(postId, { likes, at: now });
    if (this.#posts.size > REMEMBERED) this.#forget();
    return true;
  }

  /** The first posts: most likes first, ties by id, as the gateway has it. */
  first() {
    return [...this.#posts]
      .map(([postId, { likes }]) => ({ postId, likes }))
      .filter((post) => post.likes > 0)
      .sort((a, b) => b.likes - a.likes || compareBytes(a.postId, b.postId))
      .slice(0, this.limit);
  }

  clear() {
    this.#posts.clear();
  }

  #forget() {
    const least = [...this.#posts].sort((a, b) => a[1].likes - b[1].likes);
    for (const [id] of least.slice(0, this.#posts.size - REMEMBERED)) this.#posts.delete(id);
  }
}

/** Ids are ASCII, so that the order of code units is the order of bytes. */
function compareBytes(a, b) {
  return a < b ? -1 : Number(a > b);
}
