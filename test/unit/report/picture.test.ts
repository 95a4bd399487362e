import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  mapToolbar,
  type Outline,
  type Picture,
  picturePair,
  thumbnail,
} from '../../../src/report/picture.js';
import { layersOf } from '../../support/programs/report-page.js';

const outline = (kind: Outline['kind']): Outline => ({
  kind,
  points: [
    { x: 1, y: 2 },
    { x: 3.25, y: -4 },
  ],
  title: `a <${kind}>`,
});
const picture: Picture = {
  key: 'image-7',
  alt: 'x"y.png',
  rows: 40,
  columns: 30,
  grey: Uint8Array.of(1, 2),
  colours: Uint8Array.of(3),
  outlines: [outline('top'), outline('truth')],
};

describe('pictures on a page', () => {
  it('are in pixels of the source, and contain each layer once', () => {
    const html = picturePair(picture, []);
    assert.equal(html.match(/viewBox="0 0 30 40"/g)?.length, 2);
    assert.equal(html.match(/base64/g)?.length, 2);
    assert.deepEqual(layersOf(html, 'image-7'), { grey: Buffer.of(1, 2), colours: Buffer.of(3) });
    assert.match(html, /<polygon class="outline top" points="1\.0,2\.0 3\.3,-4\.0"><title>a &#60;top&#62;/);
    assert.match(html, /aria-label="x&#34;y\.png, with anomaly map"/);
  });

  it('have a thumbnail that shows the mapped picture and links to it', () => {
    assert.match(thumbnail(picture), /<a href="#image-7" .*<use href="#image-7-mapped"\/>/);
  });

  it('have controls only for kinds of outlines that they contain', () => {
    const shown = [...mapToolbar([picture]).matchAll(/data-shows="([a-z]+)"( checked)?/g)];
    assert.deepEqual(
      shown.map(([, kind, checked]) => [kind, checked !== undefined]),
      [
        ['top', true],
        ['truth', true],
      ],
    );
  });
});
