// The gateway's HTTP calls.

/** What went wrong, in the gateway's own words if there are any. */
export class ApiError extends Error {
  constructor(message, status, problem) {
    super(message);
    this.status = status;
    this.problem = problem;
  }
}

/** Longest wait for an answer; `after` may take five seconds of it. */
const TIMEOUT = 15_000;

export class Api {
  /** `base` is the page's own address, so that a gateway can be mounted anywhere. `token()` gives the present one. */
  constructor(base, token, fetch = globalThis.fetch.bind(globalThis)) {
    this.base = base;
    this.token = token;
    this.fetch = fetch;
  }

  url(path, query = {}) {
    const url = new URL(path, this.base);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
    }
    return url.href;
  }

  /** Reads JSON. */
  async read(path, query, signal) {
    const answer = await this.request('GET', this.url(path, query), undefined, signal);
    const text = await answer.text();
    if (!answer.ok) throw problemOf(answer, text);
    return JSON.parse(text);
  }

  /** Reads text. */
  async text(path) {
    const answer = await this.request('GET', this.url(path));
    if (!answer.ok) throw new ApiError(`${path}: ${answer.status}`, answer.status);
    return answer.text();
  }

  request(method, url, body, signal) {
    const headers = {};
    const token = this.token();
    if (token) headers.authorization = `Bearer ${token}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    const limit = AbortSignal.timeout(TIMEOUT);
    return this.fetch(url, {
      method,
      headers,
      body,
      cache: 'no-store',
      credentials: 'omit',
      signal: signal ? either(signal, limit) : limit,
    });
  }

  post(id, after) {
    return this.read(`api/posts/${encodeURIComponent(id)}`, { after });
  }

  comments(id, { cursor, limit, after } = {}) {
    return this.read(`api/posts/${encodeURIComponent(id)}/comments`, { cursor, limit, after });
  }

  activity(id, by, { from, to }, after) {
    return this.read(`api/posts/${encodeURIComponent(id)}/activity`, {
      by, from: new Date(from).toISOString(), to: new Date(to).toISOString(), after,
    });
  }

  top(by, window, limit) {
    return this.read('api/posts/top', { by, window, limit });
  }

  liked(posts, after) {
    return this.read('api/users/me/likes', { posts: posts.join(','), after });
  }

  alerts(cursor) {
    return this.read('api/alerts', { cursor });
  }
}

function either(...signals) {
  return AbortSignal.any ? AbortSignal.any(signals) : signals[0];
}

function problemOf(answer, text) {
  let problem = null;
  try {
    problem = JSON.parse(text);
  } catch {
    // Not the gateway's own words; a proxy's, perhaps.
  }
  return new ApiError(problem?.detail ?? problem?.title ?? `${answer.status} ${answer.statusText}`, answer.status, problem);
}

/** A message for people. */
export function told(error) {
  if (error instanceof ApiError) return error.message;
  if (error?.name === 'TimeoutError') return 'The gateway did not answer in time.';
  return 'The gateway cannot be reached.';
}
