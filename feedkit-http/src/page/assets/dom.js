// Elements. Text only ever goes in as text: nothing that a user wrote is read as HTML.

const SVG = 'http://www.w3.org/2000/svg';

/** An HTML element with attributes, listeners (`onclick`…), and children; `false` and `null` are left out. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An SVG element, likewise. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Whether things should rather not move. */
export function still() {
  return matchMedia('(prefers-reduced-motion: reduce)').matches;
}

/** Says something to those who listen. */
export function announce(text) {
  const host = byId('announcer');
  // The same text twice has to be a change.
  host.textContent = host.textContent === text ? `${text}\u00a0` : text;
}

/** Sets the text if it is another: what does not change is not read out, nor loses a selection. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
