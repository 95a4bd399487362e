import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { escapeHtml, htmlFacts, htmlPage, htmlTable, shownName } from '../../../src/report/page.js';
import { assertSelfContained } from '../../support/programs/report-page.js';

describe('a page of a report', () => {
  it('escapes text, and makes invisible characters visible', () => {
    assert.equal(escapeHtml(`<a href="x">&'`), '&#60;a href=&#34;x&#34;&#62;&#38;&#39;');
    assert.equal(escapeHtml('a\u202eb\u0007c\u2028d\n'), 'a\\u{202e}b\\u{7}c\\u{2028}d\n');
    assert.equal(escapeHtml('日本 µ é 👩'), '日本 µ é 👩');
    assert.equal(shownName('<i>.png'), '<bdi>&#60;i&#62;.png</bdi>');
  });

  it('escapes the cells of a table and the names of facts', () => {
    assert.match(htmlTable(['<h>'], [['<c>']]), /<th>&#60;h&#62;<\/th>.*<td>&#60;c&#62;<\/td>/s);
    assert.match(htmlFacts([['<n>', '<b>v</b>']]), /<dt>&#60;n&#62;<\/dt><dd><b>v<\/b><\/dd>/);
  });

  it('is self-contained, disclaims diagnoses, and escapes its title', () => {
    const html = htmlPage('<t>', '<p>text</p>');
    assertSelfContained(html);
    assert.match(html, /<title>&#60;t&#62;<\/title>/);
    assert.match(html, /research software.*diagnosis/);
  });
});
