/** Fits the int8 form of an encoder: how far its hidden tensors reach on normal tiles, and what rounding costs. */

import type { GoldenBatch } from '../../bundle/check.js';
import { allocatePatchBatch } from '../../engines/batch.js';
import type { Engine, EngineModel, EngineModelSource } from '../../engines/engine.js';
import { runGoldenCheck } from '../../engines/selection/golden-check.js';
import { createEngine } from '../../engines/selection/select.js';
import { SaladError } from '../../errors/index.js';
import type { Geometry } from '../../geometry/geometry.js';
import type { NetworkDescription } from '../../network/description.js';
import { type ActivationRange, int8Network, quantizedTensors } from '../../network/int8.js';
import type { Int8Spec } from '../../network/int8-specification.js';
import type { FitImage } from '../encoders/preset.js';

/** Tiles the ranges are taken from: one of each of so many images. */
const TILES = 256;
/** Tiles run at once: the widest tensor of a 256 px tile takes 4 MB. */
const BATCH = 8;
const BINS = 2048;
/**
 * Largest error of a golden score, as a part of the spread of all, with which int8 may be offered: three times what
 * encoders had whose rankings stayed (docs/results/2026-11/engines.md). One hardly trained misses it: its tiles look alike,
 * whitening enlarges what is left, and rounding with it.
 */
const ERROR_MAX = 0.03;
/** Steps in which either end of a range is drawn in, in search of the best. */
const CUTS = 16;

interface Tiles {
  readonly count: number;
  readonly pixels: Uint8Array;
  readonly positions: Int32Array;
}

/** One tile of each of up to TILES images, spread evenly over images and over the grid. */
function calibrationTiles(images: readonly FitImage[], geometry: Geometry): Tiles {
  const { tilePixels: bytes, tileColumns, tileCount: cells } = geometry;
  const wanted = Math.min(TILES, images.length);
  const pixels = new Uint8Array(wanted * bytes);
  const positions = new Int32Array(wanted * 2);
  let count = 0;
  for (let index = 0; index < wanted; index += 1) {
    const { image } = images[Math.floor((index * images.length) / wanted)]!;
    for (let tried = 0; tried < cells; tried += 1) {
      // Steps through the grid at the golden ratio: neighbouring images give far-apart tiles.
      const cell = (Math.floor(index * 0.618034 * cells) + tried) % cells;
      const row = Math.floor(cell / tileColumns);
      const column = cell % tileColumns;
      if (image.isBackground(row, column)) continue;
      image.cutTile(row, column, pixels.subarray(count * bytes, (count + 1) * bytes));
      positions.set([row, column], 2 * count);
      count += 1;
      break;
    }
  }
  return { count, pixels, positions };
}

/** Every value of one tensor: the network up to it, run as if it gave the embeddings. */
async function eachValue(model: EngineModel, tiles: Tiles, take: (value: number) => void): Promise<void> {
  const bytes = tiles.pixels.length / (tiles.positions.length / 2);
  const patches = allocatePatchBatch(BATCH, model);
  for (let first = 0; first < tiles.count; first += BATCH) {
    const count = Math.min(BATCH, tiles.count - first);
    const pixels = tiles.pixels.subarray(first * bytes, (first + count) * bytes);
    const positions = tiles.positions.subarray(2 * first, 2 * (first + count));
    await model.run({ count, pixels, positions }, patches);
    const filled = count * model.patchCount * model.dimension;
    for (let index = 0; index < filled; index += 1) take(patches.embeddings[index]!);
  }
}

/** Counts of values in equal bins from the smallest to the largest. */
interface Histogram extends ActivationRange {
  readonly counts: Float64Array;
}

async function histogramOf(engine: Engine, source: EngineModelSource, tiles: Tiles): Promise<Histogram> {
  const model = await engine.load(source);
  let low = 0;
  let high = 0;
  const counts = new Float64Array(BINS);
  try {
    await eachValue(model, tiles, (value) => {
      if (value < low) low = value;
      if (value > high) high = value;
    });
    const perValue = BINS / Math.max(high - low, Number.MIN_VALUE);
    await eachValue(model, tiles, (value) => {
      const bin = Math.min(BINS - 1, Math.floor((value - low) * perValue));
      counts[bin] = counts[bin]! + 1;
    });
  } finally {
    await model.dispose();
  }
  return { low, high, counts };
}

/**
 * The range with the smallest mean squared error, of rounding inside and of clipping outside. An error below zero
 * counts by `slope` squared: that is what a leaky ReLU behind the tensor leaves of it.
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

/** The alpha of the leaky ReLU behind a hidden convolution; 1 for any other tensor. */
function slopeBehind(network: NetworkDescription, name: string): number {
  const reader = network.nodes.find((node) => 'input' in node && node.input === name);
  if (reader?.op === 'maxPool') return slopeBehind(network, reader.name);
  return reader?.op === 'leakyRelu' ? reader.alpha : 1;
}

/**
 * What uint8 is to span of every tensor that int8 rounds, from normal tiles; empty where the network has none.
 * Runs the float32 network twice per tensor.
 * @param source without a bank
 * @throws SaladError CANCELLED when aborted.
 */
export async function activationRanges(
  engine: Engine,
  source: Pick<EngineModelSource, 'network' | 'weights' | 'geometry'>,
  images: readonly FitImage[],
  signal: AbortSignal,
): Promise<Int8Spec['ranges']> {
  const { network, weights } = int8Network(source.network, source.weights);
  const names = quantizedTensors(network);
  const ranges: Record<string, ActivationRange> = {};
  if (names.length === 0) return ranges;
  const tiles = calibrationTiles(images, source.geometry);
  for (const output of names) {
    if (signal.aborted) throw new SaladError('CANCELLED', 'training was interrupted');
    const upTo = { network: { ...network, output }, weights, geometry: source.geometry };
    ranges[output] = bestRange(await histogramOf(engine, upTo, tiles), slopeBehind(network, output));
  }
  return ranges;
}

/**
 * The int8 form of a bundle in the making, with a golden tolerance: twice the error seen here, rounded up to a power
 * of two, for other processors round differently. Undefined where int8 gains nothing or costs too much.
 * @param source with bank and golden scores, in float32
 */
export async function int8Form(
  engine: Engine,
  source: EngineModelSource & { readonly golden: GoldenBatch },
  images: readonly FitImage[],
  signal: AbortSignal,
): Promise<Int8Spec | undefined> {
  const { network, weights, geometry } = source;
  const ranges = await activationRanges(engine, { network, weights, geometry }, images, signal);
  if (Object.keys(ranges).length === 0) return undefined;
  const int8 = { ranges, goldenTolerance: Number.MAX_VALUE };
  const runner = await createEngine('onnx');
  try {
    const manifest = { goldenTolerance: 0, int8 };
    const { maxAbsScoreError, reason } = await runGoldenCheck(runner, { ...source, int8, manifest });
    if (maxAbsScoreError === null) throw new SaladError('ENGINE_FAILED', reason ?? 'int8 gave no scores');
    const spread = Math.max(...source.golden.scores) - Math.min(...source.golden.scores);
    if (maxAbsScoreError > ERROR_MAX * spread) return undefined;
    return { ranges, goldenTolerance: 2 ** Math.ceil(Math.log2(Math.max(2 * maxAbsScoreError, 1e-4))) };
  } finally {
    await runner.dispose();
  }
}
