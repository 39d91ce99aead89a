// Numbers, times and requests as people read them.

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** 1234567 → "1,234,567". */
export function count(value) {
  return Number.isFinite(value) ? whole.format(value) : '–';
}

/** 1234567 → "1.2M", for where there is little room. */
export function short(value) {
  if (!Number.isFinite(value)) return '–';
  const magnitude = Math.abs(value);
  for (const [limit, unit] of [[1e9, 'G'], [1e6, 'M'], [1e4, 'k']]) {
    if (magnitude >= limit) {
      const divisor = unit === 'k' ? 1e3 : limit;
      const scaled = value / divisor;
      return `${Math.abs(scaled) >= 100 ? Math.round(scaled) : trim(scaled.toFixed(1))}${unit}`;
    }
  }
  return whole.format(value);
}

/** A rate: 0.04 → "0.04", 3.27 → "3.3", 412.6 → "413". */
export function rate(value) {
  if (!Number.isFinite(value)) return '–';
  if (value === 0) return '0';
  if (value < 1) return trim(value.toFixed(2));
  if (value < 100) return trim(value.toFixed(1));
  return whole.format(value);
}

function trim(text) {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

/** "1 like", "2 likes". */
export function plural(value, word) {
  return `${count(value)} ${word}${value === 1 ? '' : 's'}`;
}

/** How long ago: "now", "12 s", "5 min", "3 h", "4 d". */
export function ago(then, now) {
  const seconds = Math.floor((now - then) / 1000);
  if (!Number.isFinite(seconds)) return '';
  if (seconds < 5) return 'now';
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** The time of day of an instant, in the reader's own zone: "08:05". */
export function clock(millis) {
  const date = new Date(millis);
  return `${pad(date.getHours())}:${pad(date.getMinutes())}`;
}

/** Day and month in the reader's own zone: "24 Nov". */
export function day(millis) {
  return new Date(millis).toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
}

/** Day and time in the reader's own zone. */
export function moment(millis) {
  return Number.isFinite(millis) ? `${day(millis)}, ${clock(millis)}` : '';
}

function pad(value) {
  return String(value).padStart(2, '0');
}

/** Whole seconds until an instant, at least 0. */
export function secondsUntil(then, now) {
  return Math.max(0, Math.ceil((then - now) / 1000));
}

/** The request as a command for a shell. The token is not shown. */
export function curl({ method, url, body, contentType }) {
  const lines = [`curl -X ${method} ${quote(url)}`, '-H "Authorization: Bearer $TOKEN"'];
  if (body !== undefined) {
    lines.push(`-H ${quote(`Content-Type: ${contentType ?? 'application/json'}`)}`, `-d ${quote(body)}`);
  }
  return lines.join(' \\\n  ');
}

/** Quoted for a POSIX shell. */
export function quote(text) {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** JSON with indentation; other text as it is. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
