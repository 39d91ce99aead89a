// The live page, put together. Each view owns its part of the page; this file owns the token and the socket.

import { Api } from './api.js';
import { announce, byId, el, setText } from './dom.js';
import { FeedkitClient, storageCursorStore } from './feedkit-client.js';
import { claims, cleaned, inFragment, keep, take } from './token.js';
import { ActView } from './view-act.js';
import { ActivityView } from './view-activity.js';
import { ConnectionView } from './view-connection.js';
import { AlertsView, FeedView } from './view-feed.js';
import { PostView } from './view-post.js';
import { StatsView } from './view-stats.js';
import { TopView } from './view-top.js';

/** The page's own address without query and fragment: wherever the gateway is mounted. */
const base = new URL('.', location.href).href;
const storage = sessionStorage;

let token = take(location, history, storage);
let client = null;
/** A post that is looked at, and listened to. */
let followed = null;

const api = new Api(base, () => token);
const open = (postId) => post.open(postId);

const connection = new ConnectionView({ retry: () => (client ? client.retryNow() : refresh()), askToken: () => panel(true) });
const post = new PostView(api, {
  listen: (id) => {
    followed = id;
    client?.subscribe(`post:${id}`);
  },
  leave: (id) => {
    followed = null;
    client?.unsubscribe(`post:${id}`);
  },
  sent: (exchange) => act.show(exchange),
});
const stats = new StatsView(api, storage, () => activity.minute());
const activity = new ActivityView(api, () => stats.minutes);
const act = new ActView(api, (event, position) => {
  post.done(event.postId, position);
  top.refresh();
});
const feed = new FeedView(storage, open);
const alerts = new AlertsView(api, open);
const top = new TopView(api, {
  open,
  onPosts: (ids) => {
    act.posts(ids);
    activity.posts(ids);
  },
  reached: (error) => {
    connection.reached(error);
    if (error?.status === 401) panel(true, 'This gateway answers only with a valid token.');
  },
});

/** Reads everything anew: at the start, when the connection is back, and when the page is looked at again. */
function refresh() {
  for (const view of [stats, top, activity, alerts, post]) view.refresh();
}

/** Begins anew with the present token, or without. */
function begin() {
  client?.close();
  client = null;
  const who = token ? claims(token) : null;
  const text = byId('who');
  text.replaceChildren(...(who ? [who.user, ...who.roles.map((role) => el('span', { class: 'chip' }, role))] : ['Not signed in']).flatMap((part) => [part, ' ']));
  setText(byId('token-open'), token ? 'Token' : 'Use a token');
  byId('token-forget').hidden = !token;
  for (const view of [act, feed, alerts, post]) view.identity(who);
  feed.note('');
  connection.state({ status: 'idle' });
  if (token) connect(who);
  refresh();
}

function connect(who) {
  const channels = ['me', 'top'];
  if (who?.roles.includes('moderator')) channels.push('role:moderator');
  if (followed) channels.push(`post:${followed}`);
  const user = who?.user ?? '';
  client = new FeedkitClient({
    url: new URL('ws', base),
    // The one in use, or another that was pasted in the meantime: the client notices if it is the refused one.
    getToken: () => token,
    channels,
    cursorStore: storageCursorStore(storage, `feedkit-cursor:${user}`),
    onNotification: (notification, { channel }) => {
      if (channel.startsWith('role:')) alerts.add(notification);
      else feed.add(notification);
    },
    onCounts: (postId, counts) => {
      top.counts(postId, counts);
      post.counts(postId, counts);
    },
    onMissed: () => feed.note('some may have been missed'),
    onState: (state) => {
      connection.state(state);
      if (state.status === 'open') refresh();
      if (state.status === 'closed' && (state.code === 4001 || state.code === 4002)) {
        panel(true, `${state.reason[0].toUpperCase()}${state.reason.slice(1)}. Paste a new one.`);
      }
    },
    onError: (error) => console.warn('feedkit:', error.message),
  }).connect();
}

// --- The token ----------------------------------------------------------------------------------------------------

function panel(shown, problem, focus = true) {
  const host = byId('token-panel');
  const opens = shown && host.hidden;
  host.hidden = !shown;
  byId('token-open').setAttribute('aria-expanded', String(shown));
  const error = byId('token-error');
  error.hidden = !problem;
  setText(error, problem ?? '');
  if (opens && !problem && focus) byId('token-input').focus();
}

function use(given) {
  token = given;
  keep(token, storage);
  byId('token-input').value = '';
  panel(false);
  begin();
}

byId('token-open').addEventListener('click', () => panel(byId('token-panel').hidden));
byId('token-panel').addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  panel(false);
  byId('token-open').focus();
});
byId('token-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const given = cleaned(byId('token-input').value);
  if (!claims(given)) {
    panel(true, 'This is no token: three parts with dots between them are expected.');
    return;
  }
  use(given);
  byId('token-open').focus();
});
byId('token-forget').addEventListener('click', () => {
  use(null);
  announce('Signed out.');
});
// A link with a token, opened in this tab.
addEventListener('hashchange', () => {
  if (inFragment(location.hash)) use(take(location, history, storage));
});

// --- The page itself ----------------------------------------------------------------------------------------------

// Without touching the address, which names the post that is looked at.
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  byId('posts').focus();
});
addEventListener('online', () => client?.retryNow());
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  client?.retryNow();
  refresh();
});

// Whoever only wants to look is not held up by a field that takes the focus.
if (!token) panel(true, undefined, false);
begin();
post.fromAddress();
