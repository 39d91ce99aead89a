// Whether the page is live, and what to do when it is not.

import { announce, byId, setText } from './dom.js';
import { secondsUntil } from './format.js';

const PILL = {
  idle: 'Reading',
  connecting: 'Connecting',
  open: 'Live',
  waiting: 'Not connected',
  closed: 'Stopped',
};

export class ConnectionView {
  #state = { status: 'idle' };
  #unreachable = false;
  #wasOpen = false;
  #lost = false;
  #retry;
  #askToken;

  /** `retry()` connects now; `askToken()` shows the field for a token. */
  constructor({ retry, askToken }) {
    this.#retry = retry;
    this.#askToken = askToken;
    byId('banner-action').addEventListener('click', () => {
      if (this.#state.status === 'closed') this.#askToken();
      else this.#retry();
    });
    setInterval(() => this.#paint(), 500);
  }

  /** The socket's state; `idle` when there is none for want of a token. */
  state(state) {
    const back = state.status === 'open' && this.#lost;
    const gone = (state.status === 'waiting' || state.status === 'closed') && this.#wasOpen && !this.#lost;
    this.#state = state;
    if (state.status === 'open') {
      this.#wasOpen = true;
      this.#lost = false;
    }
    if (state.status === 'waiting' || state.status === 'closed') this.#lost = true;
    if (state.status === 'idle') {
      this.#wasOpen = false;
      this.#lost = false;
    }
    if (back) announce('Connected again.');
    if (gone) announce(`Connection lost: ${state.reason}.`);
    this.#paint();
  }

  /** Whether reads get an answer at all. */
  reached(error) {
    this.#unreachable = error !== null && error.status === undefined;
    this.#paint();
  }

  #paint() {
    const { status } = this.#state;
    const unreachable = this.#unreachable && status === 'idle';
    byId('connection').dataset.status = unreachable ? 'waiting' : status;
    setText(byId('connection-text'), unreachable ? 'Not reachable' : PILL[status]);
    const text = unreachable ? 'The gateway cannot be reached. Trying again…' : this.#banner();
    const banner = byId('banner');
    banner.hidden = text === null;
    banner.dataset.grave = String(status === 'closed');
    setText(byId('banner-text'), text ?? '');
    const action = byId('banner-action');
    action.hidden = status === 'connecting';
    setText(action, status === 'closed' ? 'Another token' : 'Try now');
  }

  #banner() {
    const { status, retryAt, reason } = this.#state;
    if (status === 'closed') return `Not live any more: ${reason}.`;
    if (status === 'waiting') {
      const seconds = secondsUntil(retryAt, Date.now());
      return `Connection lost: ${reason}. ${seconds > 0 ? `Next attempt in ${seconds} s.` : 'Trying again…'}`;
    }
    if (status === 'connecting' && this.#lost) return 'Connection lost. Connecting again…';
    return null;
  }
}
