/**
 * Streaming separable resampling: takes source rows in any number at a time, and returns each target row as soon as all
 * its source rows have arrived. Every target value is the sum over its taps in ascending source order, so that streamed and
 * whole images give identical results.
 */
import { SaladError } from '../../errors/index.js';

/**
 * `area`: box filter with fractional coverage for reduction, triangle (bilinear, half-pixel centres) for enlargement.
 * `lanczos3`: windowed sinc with three lobes, widened by the scale for reduction; overshoots.
 */
export type ResampleKernel = 'area' | 'lanczos3';

export interface ResampleShape {
  readonly sourceRows: number;
  readonly sourceColumns: number;
  readonly targetRows: number;
  readonly targetColumns: number;
  readonly kernel?: ResampleKernel;
}

/** Receives target row `row`; `values` [targetColumns] is reused for the next row. */
export type TargetRowSink = (row: number, values: Float32Array) => void;

/** For every target index: first source index, number of taps, and their weights, which add up to 1. */
interface Taps {
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** Taps of target index i start at i * stride. */
  readonly weights: Float64Array;
  readonly stride: number;
}

/** Multiplications between two steps. */
const STEP_OPERATIONS = 1_000_000;

/** Filters source rows; keeps only the rows that later target rows need. */
export class RowResampler {
  readonly shape: ResampleShape;
  /** Number of source rows received. */
  rowsReceived = 0;
  /** Number of target rows passed to the sink. */
  rowsProduced = 0;
  readonly #horizontal: Taps;
  readonly #vertical: Taps;
  readonly #sink: TargetRowSink;
  /** The last source rows, resampled horizontally: source row r is at index r % ring.length. */
  readonly #ring: Float32Array[];
  readonly #sums: Float64Array;
  readonly #target: Float32Array;
  /** Every target value is a source value: there is nothing to sum. */
  readonly #isIdentity: boolean;

  constructor(shape: ResampleShape, sink: TargetRowSink) {
    const kernel = shape.kernel ?? 'area';
    this.shape = shape;
    this.#sink = sink;
    this.#horizontal = createTaps(shape.sourceColumns, shape.targetColumns, kernel);
    this.#vertical = createTaps(shape.sourceRows, shape.targetRows, kernel);
    this.#ring = Array.from({ length: this.#vertical.stride }, () => new Float32Array(shape.targetColumns));
    this.#sums = new Float64Array(shape.targetColumns);
    this.#target = new Float32Array(shape.targetColumns);
    this.#isIdentity = [this.#horizontal, this.#vertical].every(isIdentity);
  }

  /**
   * Filters the next `rowCount` rows, from the start of `values` [rowCount, sourceColumns].
   * @throws SaladError SAMPLE_COUNT_MISMATCH where there are more rows than the shape has, or `values` is too short
   */
  push(values: Float32Array, rowCount: number): void {
    for (const _step of this.steps(values, rowCount));
  }

  /** As `push`, in steps of about a millisecond: a narrow source has many rows, and one row may complete many rows. */
  *steps(values: Float32Array, rowCount: number): Generator<void> {
    const columns = this.shape.sourceColumns;
    if (this.rowsReceived + rowCount > this.shape.sourceRows || values.length < rowCount * columns) {
      throw new SaladError(
        'SAMPLE_COUNT_MISMATCH',
        `${rowCount} rows do not fit: ${this.rowsReceived} of ${this.shape.sourceRows} rows received`,
      );
    }
    if (this.#isIdentity) {
      this.#copyRows(values, rowCount);
      return;
    }
    const { targetRows, targetColumns } = this.shape;
    const { first, count } = this.#vertical;
    let operations = 0;
    for (let row = 0; row < rowCount; row++) {
      const line = this.#ring[this.rowsReceived % this.#ring.length]!;
      resampleRow(values, row * columns, this.#horizontal, line);
      this.rowsReceived++;
      operations += columns + 2 * targetColumns;
      // Every target row whose last source row has arrived.
      while (this.rowsProduced < targetRows) {
        const target = this.rowsProduced;
        if (first[target]! + count[target]! > this.rowsReceived) break;
        this.#sumColumn(target);
        this.rowsProduced++;
        this.#sink(target, this.#target);
        operations += targetColumns * (count[target]! + 1);
        if (operations < STEP_OPERATIONS) continue;
        operations = 0;
        yield;
      }
      if (operations < STEP_OPERATIONS) continue;
      operations = 0;
      yield;
    }
  }

  #copyRows(values: Float32Array, rowCount: number): void {
    const target = this.#target;
    for (let from = 0; from < rowCount * target.length; from += target.length) {
      for (let x = 0; x < target.length; x++) target[x] = values[from + x]!;
      this.rowsReceived++;
      this.#sink(this.rowsProduced++, target);
    }
  }

  #sumColumn(row: number): void {
    const { first, count, weights, stride } = this.#vertical;
    const sums = this.#sums;
    const target = this.#target;
    sums.fill(0);
    for (let tap = 0; tap < count[row]!; tap++) {
      const source = this.#ring[(first[row]! + tap) % this.#ring.length]!;
      const weight = weights[row * stride + tap]!;
      for (let x = 0; x < sums.length; x++) sums[x] = sums[x]! + weight * source[x]!;
    }
    for (let x = 0; x < sums.length; x++) target[x] = sums[x]!;
  }
}

/**
 * Resamples a whole image, with the same code as a stream.
 * @param source float32 [sourceRows, sourceColumns]
 * @returns float32 [targetRows, targetColumns]
 */
export function resampleImage(source: Float32Array, shape: ResampleShape): Float32Array {
  const target = new Float32Array(shape.targetRows * shape.targetColumns);
  const resampler = new RowResampler(shape, (row, values) => target.set(values, row * shape.targetColumns));
  resampler.push(source, shape.sourceRows);
  return target;
}

/** Memory of a typed array without its elements. */
const TYPED_ARRAY_BYTES = 200;

/** Memory of a resampler: the weights of both directions, and the rows that later target rows need. */
export function resamplerBytes(shape: ResampleShape): number {
  const { sourceRows, sourceColumns, targetRows, targetColumns, kernel = 'area' } = shape;
  const across = strideOf(sourceColumns, targetColumns, kernel);
  const down = strideOf(sourceRows, targetRows, kernel);
  const taps = targetColumns * (8 * across + 8) + targetRows * (8 * down + 8);
  const ring = down * (4 * targetColumns + TYPED_ARRAY_BYTES);
  return taps + ring + targetColumns * (8 + 4);
}

/** Most taps of a target sample. */
function strideOf(sourceSize: number, targetSize: number, kernel: ResampleKernel): number {
  return Math.min(sourceSize, Math.ceil(2 * filterFor(sourceSize / targetSize, kernel).radius) + 2);
}

function resampleRow(values: Float32Array, offset: number, taps: Taps, target: Float32Array): void {
  const { first, count, weights, stride } = taps;
  for (let x = 0; x < target.length; x++) {
    const from = offset + first[x]!;
    const at = x * stride;
    let sum = 0;
    for (let tap = 0, n = count[x]!; tap < n; tap++) sum += weights[at + tap]! * values[from + tap]!;
    target[x] = sum;
  }
}

function createTaps(sourceSize: number, targetSize: number, kernel: ResampleKernel): Taps {
  const scale = sourceSize / targetSize;
  const filter = filterFor(scale, kernel);
  const stride = strideOf(sourceSize, targetSize, kernel);
  const taps: Taps = {
    first: new Int32Array(targetSize),
    count: new Int32Array(targetSize),
    weights: new Float64Array(targetSize * stride),
    stride,
  };
  for (let i = 0; i < targetSize; i++) {
    // In source coordinates sample j covers [j, j + 1) and has its centre at j + 0.5.
    const center = (i + 0.5) * scale;
    let first = Math.max(0, Math.floor(center - filter.radius));
    let last = Math.min(sourceSize - 1, Math.ceil(center + filter.radius) - 1);
    while (first < last && filter.weight(first, center) === 0) first++;
    while (last > first && filter.weight(last, center) === 0) last--;
    let sum = 0;
    for (let j = first; j <= last; j++) sum += filter.weight(j, center);
    taps.first[i] = first;
    taps.count[i] = last - first + 1;
    for (let j = first; j <= last; j++) taps.weights[i * stride + j - first] = filter.weight(j, center) / sum;
  }
  return taps;
}

/** Whether target sample i is source sample i, with the weight 1. */
function isIdentity({ first, count, weights, stride }: Taps): boolean {
  return first.every((from, i) => from === i && count[i] === 1 && weights[i * stride] === 1);
}

/** `weight(j, center)` is that of source sample j for a target sample centred at `center`; zero beyond `radius`. */
interface Filter {
  readonly radius: number;
  weight(sample: number, center: number): number;
}

function filterFor(scale: number, kernel: ResampleKernel): Filter {
  if (kernel === 'lanczos3') {
    const stretch = Math.max(1, scale);
    return { radius: 3 * stretch, weight: (j, center) => lanczos3((j + 0.5 - center) / stretch) };
  }
  if (scale < 1) {
    // Beyond the outermost centres one neighbour is missing; normalisation of the other weight repeats the edge sample.
    return { radius: 1, weight: (j, center) => Math.max(0, 1 - Math.abs(j + 0.5 - center)) };
  }
  const half = scale / 2;
  return {
    radius: half,
    weight: (j, center) => withoutRoundingError(Math.min(j + 1, center + half) - Math.max(j, center - half)),
  };
}

/** Where box and sample only touch, rounding errors give a coverage of about 1e-13 instead of 0. */
function withoutRoundingError(coverage: number): number {
  return coverage < 1e-9 ? 0 : coverage;
}

/** sinc(x) sinc(x / 3) for |x| < 3. */
function lanczos3(x: number): number {
  if (x === 0) return 1;
  if (Math.abs(x) >= 3) return 0;
  const angle = Math.PI * x;
  return (3 * Math.sin(angle) * Math.sin(angle / 3)) / (angle * angle);
}
