// Reads one counter out of the Prometheus text format.

/** The sum of all samples of `name`, whatever their labels; `null` if there is none. */
export function sum(text, name) {
  let total = null;
  for (const line of text.split('\n')) {
    if (!line.startsWith(name)) continue;
    const after = line[name.length];
    if (after !== ' ' && after !== '{' && after !== '\t') continue;
    // A label's value may hold a brace, or a space: what counts is the last brace.
    const rest = after === '{' ? line.slice(line.lastIndexOf('}') + 1) : line.slice(name.length);
    const value = Number(rest.trim().split(/\s+/)[0]);
    if (Number.isFinite(value)) total = (total ?? 0) + value;
  }
  return total;
}
