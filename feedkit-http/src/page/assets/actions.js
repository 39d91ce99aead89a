// Sends an event through the real API, and tells all that was said.

import { uuid7 } from './uuid7.js';

/** Headers of an answer that are worth showing. */
const SHOWN = [
  'content-type', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset', 'ratelimit-policy', 'ratelimit',
  'retry-after', 'x-request-id',
];

/** An event as the API takes it, with an id of its own so that it can be sent again safely. */
export function eventOf({ userId, postId, type, text }) {
  const event = { id: uuid7(), userId, postId, type };
  if (text && (type === 'comment' || type === 'post')) event.text = text;
  return event;
}

/**
 * Sends the event. Answers `{request, answer}`, also when it is refused; `answer.status` is 0 when there is none. An
 * answer has `status`, `statusText`, `headers` (pairs), `body` (text), `json`, and `millis`.
 */
export async function send(api, event, now = () => performance.now()) {
  const request = { method: 'POST', url: api.url('api/events'), body: JSON.stringify(event), event };
  const started = now();
  try {
    const response = await api.request(request.method, request.url, request.body);
    const body = await response.text();
    return {
      request,
      answer: {
        ok: response.ok,
        status: response.status,
        statusText: response.statusText,
        headers: SHOWN.filter((name) => response.headers.has(name)).map((name) => [name, response.headers.get(name)]),
        body,
        json: parsed(body),
        millis: now() - started,
      },
    };
  } catch (error) {
    const body = error?.name === 'TimeoutError'
      ? 'No answer in time. It may have been taken: send it again with the same id, and it counts once.'
      : 'No answer. It may have been taken: send it again with the same id, and it counts once.';
    return { request, answer: { ok: false, status: 0, statusText: 'no answer', headers: [], body, json: null, millis: now() - started } };
  }
}

/** The position of an accepted event, for reads with `after`; `undefined` if it was not accepted. */
export function positionOf({ answer }) {
  return answer.ok ? answer.json?.position : undefined;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
