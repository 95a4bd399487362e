import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { displayTiles, placementOf } from '../../../clients/typescript/src/index.js';
import { AcquisitionAccepted, Geometry, Placement } from '../../../src/gen/salad/v1/types.js';

/** Two rows of tiles, of three columns each: a working image of 4 x 6. */
const geometry = Geometry.fromPartial({
  workingRows: 4,
  workingColumns: 6,
  coreSize: 2,
  coreColumns: 2,
  tileRows: 2,
  tileColumns: 3,
});

const accepted = (placement?: Placement) =>
  AcquisitionAccepted.fromPartial({ geometry, ...(placement ? { placement } : {}) });

function tilesOf(display: Float32Array, placement?: Placement, tilesPerMessage = 8) {
  const messages = [...displayTiles(accepted(placement), display, tilesPerMessage)];
  const tiles = messages.flatMap((message) => (message.type === 'tiles' ? message.tiles : []));
  return { messages, tiles };
}

const valuesOf = ({ samples }: { samples: Uint8Array }) => [
  ...new Float32Array(samples.buffer, samples.byteOffset, samples.length / 4),
];

describe('displayTiles', () => {
  const display = Float32Array.from({ length: 24 }, (_, i) => i + 0.25);

  it('cuts every tile once, with its little-endian float32 samples row by row', () => {
    const { messages, tiles } = tilesOf(display, undefined, 4);
    assert.equal(messages.length, 2);
    assert.deepEqual(
      tiles.map(({ row, column }) => [row, column]),
      [0, 1].flatMap((row) => [0, 1, 2].map((column) => [row, column])),
    );
    assert.deepEqual(valuesOf(tiles[0]!), [0.25, 1.25, 6.25, 7.25]);
    assert.deepEqual(valuesOf(tiles[5]!), [16.25, 17.25, 22.25, 23.25]);
  });

  it('lays a padded image where the server said, on black', () => {
    const placement = Placement.fromPartial({ top: 0, left: 1, rows: 4, columns: 4 });
    const { tiles } = tilesOf(
      Float32Array.from({ length: 16 }, (_, i) => i + 1),
      placement,
    );
    assert.deepEqual(valuesOf(tiles[0]!), [0, 1, 0, 5]);
    assert.deepEqual(valuesOf(tiles[2]!), [4, 0, 8, 0]);
  });

  it('stretches for a server that sends no placement, and refuses another size', () => {
    assert.deepEqual(placementOf(accepted(), geometry), { top: 0, left: 0, rows: 4, columns: 6 });
    assert.throws(() => tilesOf(new Float32Array(23)), RangeError);
    const without = AcquisitionAccepted.fromPartial({});
    assert.throws(() => [...displayTiles(without, display)], RangeError);
  });
});
