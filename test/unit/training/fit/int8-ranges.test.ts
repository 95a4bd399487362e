import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import type { GoldenBatch } from '../../../../src/bundle/check.js';
import { allocatePatchBatch } from '../../../../src/engines/batch.js';
import type { Engine, EngineModelSource } from '../../../../src/engines/engine.js';
import { runGoldenCheck } from '../../../../src/engines/selection/golden-check.js';
import { createEngine } from '../../../../src/engines/selection/select.js';
import { SaladError } from '../../../../src/errors/index.js';
import { geometryOf } from '../../../../src/geometry/geometry.js';
import { defaultPixelFormat } from '../../../../src/imaging/pixel-format.js';
import { WorkingImage } from '../../../../src/imaging/working-image.js';
import { initialiseWeights } from '../../../../src/network/initialise.js';
import { saladEncoder } from '../../../../src/network/salad-networks.js';
import { makePhantom } from '../../../../src/phantom/phantom.js';
import { gaborStreamNetwork } from '../../../../src/training/encoders/gabor/stream-network.js';
import type { FitImage } from '../../../../src/training/encoders/preset.js';
import { saladPreset } from '../../../../src/training/encoders/salad/named-configurations.js';
import { fitActivationRanges, fitInt8Form } from '../../../../src/training/fit/int8-ranges.js';

const { input, tiling } = saladPreset('salad', 128);
const geometry = geometryOf(input, tiling);
const DIMENSION = 16;
const neverAborted = new AbortController().signal;

/** He's initial weights: activations keep their size from layer to layer, with PyTorch's they shrink. */
function encoder(): Pick<EngineModelSource, 'network' | 'weights' | 'geometry'> {
  const network = saladEncoder({
    inputSize: geometry.tileHeight,
    baseWidth: 16,
    downs: 4,
    embedding: DIMENSION,
  });
  const weights = new Map(
    [...initialiseWeights(network, 2)].map(([name, { shape, data }]) => [
      name,
      { shape, data: name.endsWith('/kernel') ? data.map((value) => value * Math.sqrt(6)) : data },
    ]),
  );
  return { network, weights, geometry };
}

function phantom(seed: number): FitImage {
  const { rows, columns, samples, window } = makePhantom({ seed, lesion: 'none', size: 128 });
  const format = {
    ...defaultPixelFormat(rows, columns, 16, 12),
    voi: { kind: 'window', function: 'linear', ...window } as const,
  };
  const image = new WorkingImage(geometry, input, format, tiling.minStd, 'rows');
  image.pushRows(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength));
  image.complete();
  return { id: `${seed}`, patient: `${seed}`, image };
}

describe('int8 form of an encoder', () => {
  const images = [1, 2, 3, 4, 5, 6].map(phantom);
  let engine: Engine;
  before(async () => {
    engine = await createEngine('onnx');
  });
  after(() => engine.dispose());

  /** Tiles of the first images, scored against one constant prototype, because an angle is not smooth at a prototype. */
  async function withGolden() {
    const source = encoder();
    const count = 8;
    const pixels = new Uint8Array(count * geometry.tilePixels);
    const positions = new Int32Array(2 * count);
    for (let tile = 0; tile < count; tile += 1) {
      const [row, column] = [1 + (tile & 1), 1 + ((tile >> 1) & 1)];
      const size = geometry.tilePixels;
      images[tile >> 2]!.image.cutTile(row, column, pixels.subarray(tile * size, (tile + 1) * size));
      positions.set([row, column], 2 * tile);
    }
    const run = async (each: EngineModelSource) => {
      const model = await engine.load(each);
      const patches = allocatePatchBatch(count, model);
      await model.run({ count, pixels, positions }, patches);
      await model.dispose();
      return patches;
    };
    const prototypes = new Float32Array(DIMENSION).fill(1 / Math.sqrt(DIMENSION));
    const bank = {
      rows: 1,
      dimension: DIMENSION,
      prototypes,
      positions: new Int32Array(2),
      sources: new Int32Array(1),
    };
    const scoring = {
      distance: 'angular',
      form: 'mean',
      neighbourCount: 1,
      temperature: 0.1,
      searchRadius: null,
      aggregate: { topFraction: 1, margin: 0 },
    } as const;
    const search = { bank, scoring };
    const golden: GoldenBatch = { pixels, positions, scores: (await run({ ...source, search })).scores };
    return { ...source, search, golden };
  }

  it('has ranges that fit normal tiles: much wider and much narrower ranges have larger errors', async () => {
    const source = await withGolden();
    const ranges = await fitActivationRanges(engine, source, images, neverAborted);
    // The stem of 16 channels stays float32. The output of the last hidden layer is rounded, the embedding is not.
    const names = Object.keys(ranges);
    assert.deepEqual([names[0], names.at(-1), names.length], ['e1Pool', 'e4bConv', 16]);
    for (const { low, high } of Object.values(ranges)) assert.ok(low < 0 && high > 0);
    const errorOf = async (factor: number) => {
      const scaled = Object.entries(ranges).map(([name, { low, high }]) => [
        name,
        { low: factor * low, high: factor * high },
      ]);
      const int8 = { ranges: Object.fromEntries(scaled), goldenTolerance: 1 };
      const manifest = { goldenTolerance: 1e-6, int8 };
      return (await runGoldenCheck(engine, { ...source, int8, manifest })).maxAbsScoreError!;
    };
    const [fitted, wide, narrow] = [await errorOf(1), await errorOf(30), await errorOf(1 / 30)];
    assert.ok(fitted < wide / 2 && fitted < narrow / 2, `${fitted}, ${wide}, ${narrow}`);
    assert.deepEqual(await fitActivationRanges(engine, source, images, neverAborted), ranges);
  });

  it('is not offered where the rounding error is large compared with the range of scores', async () => {
    // With random weights all anatomy looks alike: the error is 5 % of the range of scores.
    assert.equal(await fitInt8Form(engine, await withGolden(), images, neverAborted), undefined);
  });

  it('does not exist for fixed filters; fitting stops when its signal aborts', async () => {
    const { network, weights } = gaborStreamNetwork();
    assert.deepEqual(
      await fitActivationRanges(engine, { network, weights, geometry }, images, neverAborted),
      {},
    );
    const abort = new AbortController();
    abort.abort();
    await assert.rejects(
      fitActivationRanges(engine, encoder(), images, abort.signal),
      (error) => error instanceof SaladError && error.reason === 'CANCELLED',
    );
  });
});
