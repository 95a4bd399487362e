/**
 * Tiles that are strips, through the port: the same scores as with square tiles, and background decided for each core.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { coreShape, type PixelChunk, SaladClient, Source } from '../../clients/typescript/src/index.js';
import { imageScoreErrorMax } from '../support/engines/rounding.js';
import {
  essence,
  PatchCollector,
  SIDE,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/servers/small-server.js';

/** Largest difference of a patch score: tiles of other widths are other networks. */
const PATCH_ERROR_MAX = 1e-5;

/** Noise, except for two flat cores of 16 x 16: the first and the third of the second row. */
const image = smallImage(77).map((value, at) => {
  const [row, column] = [Math.floor(at / SIDE) >> 4, (at % SIDE) >> 4];
  return row === 1 && (column === 0 || column === 2) ? 90 : value;
});

async function scoreWith(coresPerTile: number, source: 'rows' | 'tiles') {
  const models = await smallModels({ coresPerTile, minStd: 1 });
  const server = await startSmall(models.path);
  const client = new SaladClient(server.address);
  const patches = new PatchCollector();
  try {
    const aggregate = await client.scoreAcquisition(
      { ...smallHeader('strips'), source: source === 'rows' ? Source.SOURCE_ROWS : Source.SOURCE_TILES },
      ({ geometry }) => {
        if (source === 'rows') return smallRows(image);
        const { rows, columns } = coreShape(geometry!);
        assert.deepEqual([rows, columns], [16, 16 * coresPerTile]);
        const tiles = Array.from({ length: geometry!.tileRows * geometry!.tileColumns }, (_, at) => {
          const [row, column] = [Math.floor(at / geometry!.tileColumns), at % geometry!.tileColumns];
          const samples = Uint8Array.from(
            { length: rows * columns },
            (_value, i) =>
              image[(row * rows + Math.floor(i / columns)) * SIDE + column * columns + (i % columns)]!,
          );
          return { row, column, samples };
        });
        return [{ type: 'tiles', tiles: tiles.reverse() }] satisfies PixelChunk[];
      },
      { onEvent: (event) => patches.take(event) },
    );
    const { calibration } = server.registry.find('small').manifest;
    return { scores: patches.scores, aggregate: essence(aggregate), calibration };
  } finally {
    client.close();
    await server.stop(0);
    await models.remove();
  }
}

describe('strips through the port', () => {
  it('score and skip the same patches as square tiles, from rows and from tiles', async () => {
    const squares = await scoreWith(1, 'rows');
    assert.deepEqual([squares.aggregate.coverage?.scored, squares.aggregate.coverage?.skipped], [56, 8]);
    for (const [cores, source] of [
      [4, 'rows'],
      [4, 'tiles'],
      [2, 'tiles'],
    ] as const) {
      const { scores, aggregate, calibration } = await scoreWith(cores, source);
      assert.deepEqual(aggregate.coverage, squares.aggregate.coverage);
      assert.deepEqual([...scores.keys()].sort(), [...squares.scores.keys()].sort());
      for (const [place, score] of scores) {
        const expected = squares.scores.get(place)!;
        const difference = Math.abs(score - expected);
        assert.ok(difference <= PATCH_ERROR_MAX, `${cores} ${source} ${place}: ${score}, ${expected}`);
      }
      const difference = Math.abs(aggregate.imageScore - squares.aggregate.imageScore);
      assert.ok(difference <= imageScoreErrorMax(calibration, PATCH_ERROR_MAX), `${difference}`);
    }
  }).timeout(60_000);
});
