import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { numberCell, sortableTable, textCell } from '../../../src/report/sortable-table.js';

describe('a table to sort', () => {
  it('has a button for each column, and marks the column by which it is sorted', () => {
    const html = sortableTable(['name', 'score'], [[textCell('<a>'), numberCell(1.23456, 2)]], 1);
    assert.equal(html.match(/<button type="button">/g)?.length, 2);
    assert.match(html, /<th scope="col" aria-sort="descending"><button type="button">score/);
    assert.match(html, /<td data-sort="&#60;a&#62;">&#60;a&#62;<\/td><td data-sort="1\.23456">1\.23<\/td>/);
  });

  it('shows a dash where there is no number', () => {
    for (const none of [undefined, Number.NaN]) assert.deepEqual(numberCell(none, 2), { html: '–', key: '' });
  });
});
