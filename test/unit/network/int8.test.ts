import assert from 'node:assert/strict';
import fc from 'fast-check';
import { after, before, describe, it } from 'mocha';
import * as ort from 'onnxruntime-node';
import { allocatePatchBatch } from '../../../src/engines/batch.js';
import type { Engine, EngineModelSource } from '../../../src/engines/engine.js';
import { runGoldenCheck } from '../../../src/engines/selection/golden-check.js';
import { createEngine } from '../../../src/engines/selection/select.js';
import { geometryOf } from '../../../src/geometry/geometry.js';
import { initialiseWeights } from '../../../src/network/initialise.js';
import {
  hiddenConvolutions,
  int8Network,
  int8Rows,
  quantizedTensors,
  uint8Parameters,
} from '../../../src/network/int8.js';
import type { Int8Spec } from '../../../src/network/int8-specification.js';
import { buildOnnx } from '../../../src/network/onnx/build.js';
import type { Int8Rounding } from '../../../src/network/onnx/int8-graph.js';
import { saladEncoder } from '../../../src/network/salad-networks.js';
import { gaborNetwork, RECIPE_GABOR } from '../../../src/training/encoders/gabor/network.js';
import { bestRange } from '../../../src/training/fit/int8-ranges.js';
import { createRandom } from '../../../src/util/random.js';

const SIZE = 32;
const TILES = 8;
const DIMENSION = 16;

const geometry = geometryOf(
  { workingSize: SIZE, fit: 'stretch', intensity: { kind: 'window' }, orientation: '' },
  {
    coreSize: SIZE,
    haloSize: 0,
    patchesPerSide: 1,
    patchStride: SIZE,
    patchSize: SIZE,
    patchOffset: 0,
    minStd: 0,
  },
);

const network = saladEncoder({ inputSize: SIZE, baseWidth: 16, downs: 3, embedding: DIMENSION });
const float32: EngineModelSource = { network, weights: initialiseWeights(network, 3), geometry };
const random = createRandom(5);
const tiles = {
  count: TILES,
  pixels: Uint8Array.from({ length: TILES * SIZE * SIZE }, (_, at) =>
    Math.min(255, 100 + 60 * Math.sin(at / (7 + Math.floor(at / SIZE ** 2))) + 60 * random()),
  ),
  positions: new Int32Array(2 * TILES),
};

async function embed(engine: Engine, source: EngineModelSource): Promise<Float32Array> {
  const model = await engine.load(source);
  try {
    const patches = allocatePatchBatch(TILES, model);
    await model.run(tiles, patches);
    return patches.embeddings;
  } finally {
    await model.dispose();
  }
}

/** Ranges `factor` times as wide as the values of the tiles. */
async function rangesFor(engine: Engine, factor: number): Promise<Int8Spec> {
  const prepared = int8Network(network, float32.weights);
  const ranges: Record<string, { low: number; high: number }> = {};
  for (const output of quantizedTensors(prepared.network)) {
    const upTo = { ...prepared, network: { ...prepared.network, output }, geometry };
    const values = await embed(engine, upTo);
    ranges[output] = { low: factor * Math.min(...values), high: factor * Math.max(...values) };
  }
  return { ranges, goldenTolerance: 0.1 };
}

/** Smallest cosine between the unit vectors of a tile in two sets. */
function worstCosine(a: Float32Array, b: Float32Array): number {
  const cosines = Array.from({ length: TILES }, (_, tile) =>
    a
      .subarray(tile * DIMENSION, (tile + 1) * DIMENSION)
      .reduce((sum, value, axis) => sum + value * b[tile * DIMENSION + axis]!, 0),
  );
  return Math.min(...cosines);
}

describe('int8', () => {
  let onnx: Engine;
  let int8: Int8Spec;
  before(async () => {
    onnx = await createEngine('onnx');
    int8 = await rangesFor(onnx, 1);
  });
  after(() => onnx.dispose());

  it('quantises wide hidden convolutions, and no fixed filter bank', () => {
    const hidden = hiddenConvolutions(int8Network(network, float32.weights).network);
    const names = ['e1aConv', 'e1bConv', 'e2aConv', 'e2bConv', 'e3aConv', 'e3bConv'];
    assert.deepEqual(
      hidden.map(({ name }) => name),
      names,
    );
    const gabor = gaborNetwork({ ...RECIPE_GABOR, workingSize: 128, levels: 4 });
    assert.deepEqual(quantizedTensors(int8Network(gabor.network, gabor.weights).network), []);
  });

  it('moves pooling before the activation without changing a value', async () => {
    const swapped = int8Network(network, float32.weights);
    assert.equal(swapped.network.nodes.find(({ name }) => name === 'e2Pool')?.op, 'leakyRelu');
    const [before, behind] = [await embed(onnx, float32), await embed(onnx, { ...float32, ...swapped })];
    before.forEach((value, index) => {
      assert.ok(Math.abs(value - behind[index]!) < 1e-6, `${value} became ${behind[index]}`);
    });
  });

  it('keeps the directions of embeddings, except with ranges that are far too wide', async () => {
    const expected = await embed(onnx, float32);
    const fitting = worstCosine(expected, await embed(onnx, { ...float32, int8 }));
    const coarse = worstCosine(expected, await embed(onnx, { ...float32, int8: await rangesFor(onnx, 60) }));
    assert.ok(fitting > 0.995 && fitting < 0.9999999, `cosine ${fitting}`);
    assert.ok(coarse < 0.99, `cosine ${coarse}: the ranges are not read`);
  });

  it('rounds less where only activations are rounded, for runtimes that fuse them into the convolution', async () => {
    const run = async (rounding: Int8Rounding) => {
      const bytes = buildOnnx({ ...float32, int8 }, { rounding });
      const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 3 });
      const pixels = new ort.Tensor('uint8', tiles.pixels, [TILES, SIZE, SIZE, 1]);
      const { embeddings } = await session.run({ tiles: pixels });
      await session.release();
      const roundings = Buffer.from(bytes).toString('latin1').split('QuantizeLinear').length;
      return { roundings, embeddings: embeddings!.data as Float32Array };
    };
    const expected = await embed(onnx, float32);
    const distance = (values: Float32Array) =>
      Math.sqrt(values.reduce((sum, value, at) => sum + (value - expected[at]!) ** 2, 0));
    const [all, activations] = [await run('all'), await run('activations')];
    assert.ok(activations.roundings < all.roundings);
    assert.ok(distance(activations.embeddings) > 1e-4, 'nothing was rounded');
    const share = distance(activations.embeddings) / distance(all.embeddings);
    assert.ok(share < 0.8, `${share} of the error`);
  });

  it('is named by the engines that run it', async () => {
    const wasm = await createEngine('wasm');
    const precision = async (engine: Engine, source: EngineModelSource) => {
      const model = await engine.load(source);
      await model.dispose();
      return model.precision;
    };
    assert.equal(await precision(onnx, { ...float32, int8 }), 'int8');
    assert.equal(await precision(onnx, float32), 'float32');
    assert.equal(await precision(wasm, { ...float32, int8 }), 'float32');
    for (const engine of [onnx, wasm]) {
      assert.equal(await precision(engine, { ...float32, bfloat16: true }), 'float32');
    }
    await wasm.dispose();
  });

  it('passes its golden check by its own tolerance, float32 by the other', async () => {
    const scoring = {
      distance: 'chord',
      form: 'mean',
      neighbourCount: 1,
      temperature: 0.1,
      searchRadius: null,
      aggregate: { topFraction: 1, margin: 0 },
    } as const;
    const bank = {
      rows: 1,
      dimension: DIMENSION,
      prototypes: new Float32Array(DIMENSION).fill(1 / Math.sqrt(DIMENSION)),
      positions: new Int32Array(2),
      sources: new Int32Array(1),
    };
    const source = { ...float32, search: { bank, scoring } };
    const model = await onnx.load(source);
    const patches = allocatePatchBatch(TILES, model);
    await model.run(tiles, patches);
    await model.dispose();
    const golden = { pixels: tiles.pixels, positions: tiles.positions, scores: patches.scores };
    const check = (goldenTolerance: number, isInt8: boolean) => {
      const own = { ...int8, goldenTolerance };
      const bundle = { ...source, golden, manifest: { goldenTolerance: 1e-6, int8: own } };
      return runGoldenCheck(onnx, isInt8 ? { ...bundle, int8: own } : bundle);
    };
    assert.equal((await check(0.1, true)).passed, true);
    assert.equal((await check(1e-6, true)).passed, false);
    assert.equal((await check(1e-9, false)).passed, true);
  });
});

describe('rounding', () => {
  it('holds zero exactly and every value of the range to half a step', () => {
    const ends = fc.float({ min: -100, max: 100, noNaN: true });
    fc.assert(
      fc.property(ends, ends, fc.float({ min: 0, max: 1, noNaN: true }), (a, b, place) => {
        const range = { low: Math.min(a, b, 0), high: Math.max(a, b, 0) };
        const { scale, zeroPoint } = uint8Parameters({ low: Math.min(a, b), high: Math.max(a, b) });
        assert.ok(Number.isInteger(zeroPoint) && zeroPoint >= 0 && zeroPoint <= 255);
        const value = range.low + place * (range.high - range.low);
        const stored = Math.max(0, Math.min(255, Math.round(value / scale) + zeroPoint));
        // The zero point is rounded, too, so an end of the range may be half a step outside.
        assert.ok(Math.abs((stored - zeroPoint) * scale - value) <= scale * 1.001);
      }),
    );
  });

  it('gives every output channel of weights a scale of its own', () => {
    const { data, scales } = int8Rows(Float32Array.of(1, -2, 0.5, 0.001, 0.002, -0.0005), 3);
    assert.deepEqual([...data], [64, -127, 32, 64, 127, -32]);
    assert.ok(Math.abs(scales[0]! - 2 / 127) < 1e-8 && Math.abs(scales[1]! - 0.002 / 127) < 1e-10);
    assert.deepEqual([...int8Rows(new Float32Array(3), 3).data], [0, 0, 0]);
  });

  it('clips a single outlier, and values that an activation makes small', () => {
    const bins = 200;
    const counts = (of: (value: number) => number) =>
      Float64Array.from({ length: bins }, (_, bin) => of(-10 + (20 * (bin + 0.5)) / bins));
    const even = { low: -10, high: 10, counts: counts(() => 100) };
    assert.deepEqual(bestRange(even, 1), { low: -10, high: 10 });
    const leaky = bestRange(even, 0.01);
    assert.ok(leaky.low > -10 && leaky.high === 10, JSON.stringify(leaky));
    const outlier = { ...even, counts: counts((value) => (Math.abs(value) < 2 ? 1e6 : value > 9.8 ? 1 : 0)) };
    const clipped = bestRange(outlier, 1);
    assert.ok(clipped.high < 5 && clipped.low > -5, JSON.stringify(clipped));
  });
});
