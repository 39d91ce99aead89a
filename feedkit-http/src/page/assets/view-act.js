// The form that acts as a user, and shows what was asked and answered.

import { positionOf, eventOf, send } from './actions.js';
import { announce, byId, el, setText } from './dom.js';
import { curl, plural, pretty } from './format.js';

const WRITE_ANY = 'events:write:any';

export class ActView {
  #api;
  #claims = null;
  #sending = false;
  #last = null;
  #onDone;

  /** `onDone(event, position)` is called after an accepted event. */
  constructor(api, onDone) {
    this.#api = api;
    this.#onDone = onDone;
    const form = byId('act-form');
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const fields = new FormData(form);
      this.#send(eventOf({
        userId: fields.get('userId').trim(),
        postId: fields.get('postId').trim(),
        type: fields.get('type'),
        text: fields.get('text'),
      }));
    });
    byId('act-again').addEventListener('click', () => this.#send(this.#last));
    byId('act-type').addEventListener('change', () => this.#fit());
    this.#fit();
  }

  /** Another token. */
  identity(claims) {
    this.#claims = claims;
    const any = claims?.scopes.includes(WRITE_ANY) ?? false;
    const user = byId('act-user');
    user.readOnly = !any;
    if (!any || !user.value) user.value = claims?.user ?? '';
    user.placeholder = claims ? '' : 'no token';
    setText(byId('act-user-hint'), claims ? any ? 'This token may act as any user.' : '' : 'Acting needs a token. Reading does not.');
    this.#fit();
  }

  /** The posts that are suggested. */
  posts(ids) {
    const list = byId('act-posts');
    if (ids.join() === [...list.children].map((option) => option.value).join()) return;
    list.replaceChildren(...ids.map((id) => el('option', { value: id })));
    const field = byId('act-post');
    if (!field.value && ids[0] && document.activeElement !== field) field.value = ids[0];
  }

  /** Shows an exchange that took place elsewhere on the page. */
  show({ request, answer }) {
    byId('act-exchange').hidden = false;
    setText(byId('act-request'), curl(request));
    const status = byId('act-status');
    status.textContent = answer.status ? `${answer.status} ${answer.statusText}` : answer.statusText;
    status.dataset.class = String(answer.status)[0];
    setText(byId('act-millis'), `${answer.millis < 10 ? answer.millis.toFixed(1) : Math.round(answer.millis)} ms`);
    byId('act-headers').replaceChildren(...answer.headers.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
    setText(byId('act-body'), pretty(answer.body));
    this.#last = request.event;
    byId('act-again').hidden = false;
    const left = answer.headers.find(([name]) => name === 'ratelimit-remaining')?.[1];
    setText(byId('act-limit'), left === undefined ? '' : `${left} left of your rate`);
  }

  async #send(event) {
    if (this.#sending || !event) return;
    this.#sending = true;
    this.#fit();
    const visible = byId('act-visible');
    setText(visible, 'Sending…');
    const exchange = await send(this.#api, event);
    this.#sending = false;
    this.#fit();
    this.show(exchange);
    const position = positionOf(exchange);
    if (position === undefined) {
      setText(visible, '');
      announce(`Not accepted: ${exchange.answer.json?.detail ?? exchange.answer.statusText}`);
      return;
    }
    setText(visible, 'Accepted…');
    this.#onDone(event, position);
    const started = performance.now();
    try {
      const post = await this.#api.post(event.postId, position);
      const millis = Math.round(performance.now() - started);
      setText(visible, `Accepted, and visible ${millis} ms later: ${event.postId} has ${plural(post.likes, 'like')} and ${plural(post.comments, 'comment')}.`);
    } catch (error) {
      setText(visible, error.status === 404 ? 'Accepted; it changed nothing.' : 'Accepted, but not visible yet.');
    }
  }

  /** The form fits what is chosen, and whether something can be sent. */
  #fit() {
    const type = new FormData(byId('act-form')).get('type');
    byId('act-text-field').hidden = type !== 'comment' && type !== 'post';
    byId('act-text').required = type === 'comment';
    byId('act-send').disabled = this.#sending || !this.#claims;
    byId('act-again').disabled = this.#sending || !this.#claims;
  }
}
