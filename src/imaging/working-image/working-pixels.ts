/** The pixels of a working image: display values, rounded to 8 bits at once or after a contrast stretch. */
import type { Geometry } from '../../geometry/geometry.js';
import type { Placement } from '../../geometry/placement.js';
import type { InputSpec } from '../../geometry/specifications.js';
import { displayTableOf, lookUp, toByte, toBytes } from '../contrast/byte-table.js';
import { percentilesOf } from '../contrast/percentile.js';
import { percentileRange, stretch, stretchSamples } from '../contrast/stretch.js';
import type { DisplayTransform, PixelFormat } from '../pixel-format/pixel-format.js';
import { type RowCoverage, TileCoverage } from '../tiles/tile-coverage.js';

export interface WorkingPixelsOptions {
  readonly geometry: Geometry;
  readonly input: InputSpec;
  readonly format: PixelFormat;
  readonly transform: DisplayTransform;
  /** Whether the display values were resampled, and are no longer those of single samples. */
  readonly isResampled: boolean;
  /** Whether display values are final when they are written; otherwise `applyPercentiles` makes them final. */
  readonly isFinal: boolean;
}

export class WorkingPixels {
  /** uint8 [workingSize, workingSize] display values; black where nothing was received. */
  readonly bytes: Uint8Array;
  readonly #geometry: Geometry;
  readonly #isFinal: boolean;
  /** float32 [workingSize, workingSize] display values, only where percentiles will be applied. */
  #floats: Float32Array | null;
  readonly #percentiles: readonly [number, number];
  /**
   * Display value of every 8-bit sample, where samples are not resampled; else null. With the table no float image is needed: where
   * percentiles will be applied, `bytes` contains the samples as received until then.
   */
  readonly #displayTable: Float32Array | null;
  /** `#displayTable` rounded to bytes; null also where every sample is its own display value. */
  readonly #byteTable: Uint8Array | null;

  constructor({ geometry, input, format, transform, isResampled, isFinal }: WorkingPixelsOptions) {
    this.#geometry = geometry;
    this.#isFinal = isFinal;
    this.#percentiles = percentileRange(input, format);
    const count = geometry.workingSize ** 2;
    this.bytes = new Uint8Array(count);
    const hasTable = !isResampled && format.bitsAllocated === 8;
    this.#displayTable = hasTable ? displayTableOf(transform) : null;
    const table = this.#displayTable && isFinal ? toBytes(this.#displayTable) : null;
    this.#byteTable = table?.every((byte, sample) => byte === sample) ? null : table;
    this.#floats = isFinal || hasTable ? null : new Float32Array(count);
  }

  /** Whether samples are written by `writeSamples`, without the display transform. */
  get takesSamples(): boolean {
    return this.#displayTable !== null;
  }

  /** Writes `count` display values from index `from` on to index `at`. */
  write(values: Float32Array, from: number, at: number, count: number): void {
    const floats = this.#floats;
    if (floats) {
      for (let i = 0; i < count; i++) floats[at + i] = values[from + i]!;
      return;
    }
    const { bytes } = this;
    for (let i = 0; i < count; i++) bytes[at + i] = toByte(values[from + i]!);
  }

  /** Writes `count` 8-bit samples from index `from` on to index `at`; only where `takesSamples`. */
  writeSamples(samples: Uint8Array, from: number, at: number, count: number): void {
    if (this.#byteTable) lookUp(this.#byteTable, samples, from, this.bytes, at, count);
    else this.bytes.set(count < samples.length ? samples.subarray(from, from + count) : samples, at);
  }

  /** Returns the function from an index to its display value, before percentiles are applied. */
  valueAt(): (index: number) => number {
    const { bytes } = this;
    const [floats, table] = [this.#floats, this.#displayTable];
    if (floats) return (index) => floats[index]!;
    if (table && !this.#isFinal) return (index) => table[bytes[index]!]!;
    return (index) => bytes[index]!;
  }

  /** Stretches the contrast between percentiles of the received pixels; only where display values are not final. */
  applyPercentiles(coverage: RowCoverage | TileCoverage, placement: Placement): void {
    const table = this.#displayTable;
    if (table && coverage instanceof TileCoverage) {
      stretchSamples(this.bytes, table, this.#percentiles, coverage, this.#geometry, placement);
    } else if (this.#floats) {
      const values = coverage.valuesOf(this.#floats, placement);
      const [low, high] = percentilesOf(values, this.#percentiles);
      stretch(this.#floats, low!, high!, this.bytes);
      this.#floats = null;
    }
  }
}
