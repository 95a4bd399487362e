import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import type { GoldenBatch } from '../../../../src/bundle/check.js';
import { allocatePatchBatch } from '../../../../src/engines/batch.js';
import type { Engine, EngineModelSource } from '../../../../src/engines/engine.js';
import { createEngine, selfTest } from '../../../../src/engines/selection/select.js';
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
const never = new AbortController().signal;

/** PyTorch's initial weights shrink from layer to layer; He's keep their size. */
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

  /** Tiles of the first images, scored against a constant direction: at a prototype itself an angle has a cusp. */
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

  it('spans what normal tiles reach: far wider ranges round far more', async () => {
    const source = await withGolden();
    const ranges = await fitActivationRanges(engine, source, images, never);
    // A stem of 16 channels stays float32; what the last hidden layer writes is rounded, the embedding is not.
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
      return (await selfTest(engine, { ...source, int8, manifest })).maxAbsScoreError!;
    };
    const [fitted, wide, narrow] = [await errorOf(1), await errorOf(30), await errorOf(1 / 30)];
    assert.ok(fitted < wide / 2 && fitted < narrow / 2, `${fitted}, ${wide}, ${narrow}`);
    assert.deepEqual(await fitActivationRanges(engine, source, images, never), ranges);
  });

  it('is withheld where rounding is large against what tells tiles apart', async () => {
    // Random weights see all anatomy alike: 5 % of the spread of scores is lost.
    assert.equal(await fitInt8Form(engine, await withGolden(), images, never), undefined);
  });

  it('does not exist for a fixed filter bank, and stops when asked to', async () => {
    const { network, weights } = gaborStreamNetwork();
    assert.deepEqual(await fitActivationRanges(engine, { network, weights, geometry }, images, never), {});
    const abort = new AbortController();
    abort.abort();
    await assert.rejects(
      fitActivationRanges(engine, encoder(), images, abort.signal),
      (error) => error instanceof SaladError && error.reason === 'CANCELLED',
    );
  });
});
