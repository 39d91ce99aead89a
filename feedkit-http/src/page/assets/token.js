// The bearer token: out of the address, into the session, and what it says.

const KEY = 'feedkit-token';

/** Takes the token out of the address bar; else the one kept in this session; else `null`. */
export function take(location, history, storage) {
  const given = inFragment(location.hash);
  if (given) {
    storage.setItem(KEY, given.token);
    history.replaceState(history.state, '', `${location.pathname}${location.search}${given.rest}`);
    return given.token;
  }
  return storage.getItem(KEY);
}

/** Keeps a token for this session; `null` forgets it. */
export function keep(token, storage) {
  if (token) storage.setItem(KEY, token);
  else storage.removeItem(KEY);
}

/** `#token=T&post=9` → `{token: 'T', rest: '#post=9'}`; `null` without a token. */
export function inFragment(hash) {
  const parts = hash.replace(/^#/, '').split('&');
  const at = parts.findIndex((part) => part.startsWith('token='));
  if (at < 0) return null;
  const [part] = parts.splice(at, 1);
  const token = cleaned(decode(part.slice('token='.length)));
  return token ? { token, rest: parts.join('&') && `#${parts.join('&')}` } : null;
}

/** A token as pasted: a whole address, or `Bearer …`, will do. */
export function cleaned(text) {
  const trimmed = text.trim();
  const at = trimmed.indexOf('#token=');
  if (at >= 0) return cleaned(decode(trimmed.slice(at + '#token='.length).split('&')[0]));
  return trimmed.replace(/^Bearer\s+/i, '');
}

/**
 * What the token says of itself, unverified: good for showing, never for deciding. `null` if it is no JWT.
 */
export function claims(token) {
  try {
    const payload = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(payload), (char) => char.charCodeAt(0));
    const body = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof body.sub !== 'string') return null;
    return {
      user: body.sub,
      roles: Array.isArray(body.roles) ? body.roles.filter((role) => typeof role === 'string') : [],
      scopes: typeof body.scope === 'string' ? body.scope.split(' ').filter(Boolean) : [],
      expiresAt: Number.isFinite(body.exp) ? body.exp * 1000 : null,
    };
  } catch {
    return null;
  }
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
