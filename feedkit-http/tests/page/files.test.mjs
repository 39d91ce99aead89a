// The page's files fit each other.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';

const folder = new URL('../../src/page/assets/', import.meta.url);
const read = (name) => readFileSync(new URL(name, folder), 'utf8');
const names = readdirSync(folder);
const scripts = names.filter((name) => name.endsWith('.js'));
const html = read('index.html');
const all = (text, pattern) => [...text.matchAll(pattern)].map((match) => match[1]);
const ids = all(html, /\sid="([^"]+)"/g);

test('ids are used once, and what is referred to is there', () => {
  assert.equal(new Set(ids).size, ids.length);
  const wanted = all(html, /\s(?:for|list|aria-labelledby|aria-describedby|aria-controls)="([^"]+)"/g).flatMap((value) => value.split(' '));
  for (const id of [...wanted, ...all(html, /href="#([^"]+)"/g)]) assert.ok(ids.includes(id), `#${id}`);
});

test('scripts look for elements that the page has', () => {
  for (const script of scripts) {
    for (const id of all(read(script), /byId\('([^']+)'\)/g)) assert.ok(ids.includes(id), `${script}: #${id}`);
  }
});

test('imports name files that are there, and what they export', async () => {
  for (const script of scripts) {
    for (const [, imported, from] of read(script).matchAll(/import\s*(?:\{([^}]*)\}|\* as \w+)\s*from\s*'([^']+)'/g)) {
      assert.ok(from.startsWith('./') && names.includes(from.slice(2)), `${script}: ${from}`);
      const wanted = (imported ?? '').split(',').map((name) => name.trim().split(' ')[0]).filter(Boolean);
      const exported = all(read(from.slice(2)), /export (?:async )?(?:const|class|function) (\w+)/g);
      for (const name of wanted) assert.ok(exported.includes(name), `${script}: ${name} of ${from}`);
    }
  }
});

test('the client stands alone, with all that it offers in its types', () => {
  const client = read('feedkit-client.js');
  assert.doesNotMatch(client, /^import /m);
  const types = read('feedkit-client.d.ts');
  for (const name of all(client, /export (?:const|class|function) (\w+)/g)) assert.match(types, new RegExp(`export .*\\b${name}\\b`));
  for (const name of all(client, /^ {2}(?:get )?(?!constructor|static)([a-z]\w*)\(/gm)) {
    if (['add', 'save', 'load'].includes(name)) continue;
    assert.match(types, new RegExp(`\\b${name}\\b`), name);
  }
  const defaults = client.slice(client.indexOf('const DEFAULTS'), client.indexOf('};', client.indexOf('const DEFAULTS')));
  for (const name of all(defaults, /^ {2}(\w+):/gm)) assert.match(types, new RegExp(`\\b${name}\\?:`), name);
});

test('every button says what kind it is, and every input has a name', () => {
  for (const [button] of html.matchAll(/<button[^>]*>/g)) assert.match(button, / type="(button|submit)"/, button);
  for (const [input] of html.matchAll(/<(?:input|select|textarea)[^>]*>/g)) {
    if (/type="radio"/.test(input)) continue;
    const id = / id="([^"]+)"/.exec(input)?.[1];
    assert.ok(html.includes(`for="${id}"`) || new RegExp(`<label[^>]*>[^<]*${input.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`).test(html), input);
  }
});
