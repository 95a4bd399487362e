/** Checks of the HTML reports that hold for each of them. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** The page loads nothing, and its policy allows its own style and script alone. */
export function assertSelfContained(html: string): void {
  const references = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, to]) => to!);
  for (const to of references) assert.match(to, /^(data:image\/(png|jpeg);base64,|#)/);
  const ids = new Set([...html.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id));
  for (const to of references.filter((each) => each.startsWith('#'))) assert.ok(ids.has(to.slice(1)), to);
  assert.ok(!/ style="| on[a-z]+="/.test(html), 'the policy forbids these');
  const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(html)?.[1] ?? '';
  assert.match(policy, /^default-src 'none'; img-src data:;/);
  for (const tag of ['style', 'script']) {
    const texts = [...html.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, 'gs'))].map(([, text]) => text!);
    assert.equal(texts.length, 1, tag);
    assert.ok(policy.includes(`${tag}-src ${hashOf(texts[0]!)}`), tag);
  }
}

/** The files of a picture by its key: the image in grey and the colours over it. */
export function layersOf(html: string, key: string): { readonly grey: Buffer; readonly colours: Buffer } {
  const of = (pattern: string): Buffer => {
    const found = new RegExp(`${pattern}[^>]* href="data:image/(?:png|jpeg);base64,([^"]*)"`, 's').exec(html);
    assert.ok(found, pattern);
    return Buffer.from(found[1]!, 'base64');
  };
  return {
    grey: of(`<image id="${key}-grey"`),
    colours: of(`<g id="${key}-mapped">.*?<image class="colours"`),
  };
}
