import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { assignMemoryRows } from '../../../../../src/training/encoders/salad/tiles.js';
import { syntheticTiles, tinyConfig } from './synthetic-tiles.js';

describe('SALAD memory rows', () => {
  const tiles = syntheticTiles(3, 4, 16, 1);

  it('overlap only with rows of the same image', () => {
    const rows = assignMemoryRows(tiles, tinyConfig(), 1);
    assert.deepEqual([...rows.overlapping(16)], [17, 20, 21]);
    assert.equal(rows.overlapping(21).length, 8);
    assert.deepEqual(assignMemoryRows(tiles, tinyConfig({ level: 'image' }), 1).overlapping(21), []);
  });

  it('of one patient may not be neighbours', () => {
    const rows = assignMemoryRows(
      { ...tiles, patientOf: tiles.imageOf.length ? Array.from(tiles.imageOf, (i) => i >> 1) : [] },
      tinyConfig(),
      1,
    );
    assert.equal(rows.mayBeNeighbours(0, 31), false);
    assert.equal(rows.mayBeNeighbours(0, 32), true);
  });

  it('are a random subset of every image that depends only on the seed', () => {
    const subset = assignMemoryRows(tiles, tinyConfig({ tilesPerImage: 5 }), 7);
    assert.equal(subset.count, 15);
    assert.equal(new Set(subset.tileOf).size, 15);
    for (let image = 0; image < 3; image++) {
      assert.equal(subset.tileOf.filter((tile) => tiles.imageOf[tile] === image).length, 5);
    }
    assert.deepEqual(assignMemoryRows(tiles, tinyConfig({ tilesPerImage: 5 }), 7).tileOf, subset.tileOf);
    assert.notDeepEqual(assignMemoryRows(tiles, tinyConfig({ tilesPerImage: 5 }), 8).tileOf, subset.tileOf);
  });
});
