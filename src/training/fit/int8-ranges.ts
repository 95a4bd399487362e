/** Fits the int8 form of an encoder: the ranges of its hidden tensors on normal tiles, and the error of rounding. */
import type { GoldenBatch } from '../../bundle/check.js';
import { allocatePatchBatch } from '../../engines/batch.js';
import type { Engine, EngineModel, EngineModelSource, TileBatch } from '../../engines/engine.js';
import { runGoldenCheck } from '../../engines/selection/golden-check.js';
import { createEngine } from '../../engines/selection/select.js';
import { SaladError } from '../../errors/index.js';
import type { Geometry } from '../../geometry/geometry.js';
import { writeTile } from '../../imaging/batch-tiles.js';
import type { NetworkDescription } from '../../network/description.js';
import { type ActivationRange, int8Network, quantizedTensors } from '../../network/int8.js';
import type { Int8Spec } from '../../network/int8-specification.js';
import type { FitImage } from '../encoders/preset.js';

/** Images that the ranges are measured on, one tile of each. */
const TILES_MAX = 256;
/** Tiles per engine call: the widest tensor of a 256 px tile takes 4 MB. */
const BATCH_TILES = 8;
const BINS = 2048;
/**
 * Largest error of a golden score, as a fraction of the range of golden scores, with which a bundle gets an int8 form.
 * It is three times the error of encoders whose ranking did not change (docs/results/2026-11/engines.md). An encoder
 * with little training exceeds it: its tiles look alike, and whitening enlarges the rounding errors with the remaining
 * differences.
 */
const ERROR_FRACTION_MAX = 0.03;
/** Number of values tried for each end of a range. */
const CUTS = 16;

/** Cuts one tile of each of up to TILES_MAX images, spread evenly over the images and over the grid. */
function cutCalibrationTiles(images: readonly FitImage[], geometry: Geometry): TileBatch {
  const { tilePixels, tileColumns, tileCount } = geometry;
  const imageCount = Math.min(TILES_MAX, images.length);
  const pixels = new Uint8Array(imageCount * tilePixels);
  const positions = new Int32Array(imageCount * 2);
  let count = 0;
  for (let index = 0; index < imageCount; index += 1) {
    const { image } = images[Math.floor((index * images.length) / imageCount)]!;
    for (let attempt = 0; attempt < tileCount; attempt += 1) {
      // The first tile of an image follows the golden ratio, so that neighbouring images give distant tiles.
      const cell = (Math.floor(index * 0.618034 * tileCount) + attempt) % tileCount;
      const row = Math.floor(cell / tileColumns);
      const column = cell % tileColumns;
      if (image.isBackground(row, column)) continue;
      writeTile({ pixels, positions }, count, image, row, column);
      count += 1;
      break;
    }
  }
  return { count, pixels, positions };
}

/**
 * Calls `visit` with every value of one tensor.
 * @param model the network cut off after that tensor, which is then the model's embedding
 */
async function forEachValue(
  model: EngineModel,
  tiles: TileBatch,
  visit: (value: number) => void,
): Promise<void> {
  const tilePixels = tiles.pixels.length / (tiles.positions.length / 2);
  const patches = allocatePatchBatch(BATCH_TILES, model);
  for (let first = 0; first < tiles.count; first += BATCH_TILES) {
    const count = Math.min(BATCH_TILES, tiles.count - first);
    const pixels = tiles.pixels.subarray(first * tilePixels, (first + count) * tilePixels);
    const positions = tiles.positions.subarray(2 * first, 2 * (first + count));
    await model.run({ count, pixels, positions }, patches);
    const valueCount = count * model.patchCount * model.dimension;
    for (let index = 0; index < valueCount; index += 1) visit(patches.embeddings[index]!);
  }
}

/** Number of values in equal bins between the smallest and the largest value. */
interface Histogram extends ActivationRange {
  readonly counts: Float64Array;
}

async function computeHistogram(
  engine: Engine,
  source: EngineModelSource,
  tiles: TileBatch,
): Promise<Histogram> {
  const model = await engine.load(source);
  let low = 0;
  let high = 0;
  const counts = new Float64Array(BINS);
  try {
    await forEachValue(model, tiles, (value) => {
      if (value < low) low = value;
      if (value > high) high = value;
    });
    const binsPerUnit = BINS / Math.max(high - low, Number.MIN_VALUE);
    await forEachValue(model, tiles, (value) => {
      const bin = Math.min(BINS - 1, Math.floor((value - low) * binsPerUnit));
      counts[bin] = counts[bin]! + 1;
    });
  } finally {
    await model.dispose();
  }
  return { low, high, counts };
}

/**
 * Finds the range with the smallest mean squared error of rounding (inside the range) and clipping (outside). The
 * error of a negative value is weighted by `slope` squared, because a leaky ReLU after the tensor reduces it so.
 */
export function bestRange({ low, high, counts }: Histogram, slope: number): ActivationRange {
  const width = (high - low) / counts.length;
  const errorOf = (range: ActivationRange): number => {
    const step = (range.high - range.low) / 255;
    let error = 0;
    counts.forEach((count, bin) => {
      const value = low + (bin + 0.5) * width;
      const clipped = Math.max(0, range.low - value, value - range.high);
      error += count * (value < 0 ? slope * slope : 1) * (clipped * clipped + (step * step) / 12);
    });
    return error;
  };
  let best = { error: Number.POSITIVE_INFINITY, range: { low, high } };
  for (let below = 0; below < CUTS; below += 1) {
    for (let above = 0; above < CUTS; above += 1) {
      const range = { low: low * (1 - below / CUTS), high: high * (1 - above / CUTS) };
      const error = errorOf(range);
      if (error < best.error) best = { error, range };
    }
  }
  return best.range;
}

/** The alpha of the leaky ReLU that follows a hidden convolution; 1 for any other tensor. */
function slopeAfter(network: NetworkDescription, name: string): number {
  const next = network.nodes.find((node) => 'input' in node && node.input === name);
  if (next?.op === 'maxPool') return slopeAfter(network, next.name);
  return next?.op === 'leakyRelu' ? next.alpha : 1;
}

/**
 * Fits the range that uint8 covers for every tensor that int8 rounds, from normal tiles; empty where the network has
 * no such tensor. Runs the float32 network twice per tensor.
 * @param source without a bank
 * @throws SaladError CANCELLED when aborted.
 */
export async function fitActivationRanges(
  engine: Engine,
  source: Pick<EngineModelSource, 'network' | 'weights' | 'geometry'>,
  images: readonly FitImage[],
  signal: AbortSignal,
): Promise<Int8Spec['ranges']> {
  const { network, weights } = int8Network(source.network, source.weights);
  const names = quantizedTensors(network);
  const ranges: Record<string, ActivationRange> = {};
  if (names.length === 0) return ranges;
  const tiles = cutCalibrationTiles(images, source.geometry);
  for (const output of names) {
    if (signal.aborted) throw new SaladError('CANCELLED', 'training was interrupted');
    const cutOff = { network: { ...network, output }, weights, geometry: source.geometry };
    ranges[output] = bestRange(await computeHistogram(engine, cutOff, tiles), slopeAfter(network, output));
  }
  return ranges;
}

/**
 * Fits the int8 form of a new bundle and its golden tolerance: twice the error measured here, rounded up to a power of
 * two, because other processors round differently.
 * @param source with bank and golden scores, in float32
 * @returns undefined where int8 has nothing to round or its error is too large
 */
export async function fitInt8Form(
  engine: Engine,
  source: EngineModelSource & { readonly golden: GoldenBatch },
  images: readonly FitImage[],
  signal: AbortSignal,
): Promise<Int8Spec | undefined> {
  const { network, weights, geometry } = source;
  const ranges = await fitActivationRanges(engine, { network, weights, geometry }, images, signal);
  if (Object.keys(ranges).length === 0) return undefined;
  const int8 = { ranges, goldenTolerance: Number.MAX_VALUE };
  const int8Engine = await createEngine('onnx');
  try {
    const manifest = { goldenTolerance: 0, int8 };
    const { maxAbsScoreError, reason } = await runGoldenCheck(int8Engine, { ...source, int8, manifest });
    if (maxAbsScoreError === null) throw new SaladError('ENGINE_FAILED', reason ?? 'int8 gave no scores');
    const scoreRange = Math.max(...source.golden.scores) - Math.min(...source.golden.scores);
    if (maxAbsScoreError > ERROR_FRACTION_MAX * scoreRange) return undefined;
    return { ranges, goldenTolerance: 2 ** Math.ceil(Math.log2(Math.max(2 * maxAbsScoreError, 1e-4))) };
  } finally {
    await int8Engine.dispose();
  }
}
