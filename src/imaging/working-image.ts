/**
 * The working image of one acquisition: the radiograph at the model's resolution, 8 bit, filled from rows or
 * tiles in whatever pieces they come, and cut into encoder tiles as soon as core and halo are there.
 */

import { SaladError } from '../errors/index.js';
import { type Geometry, patchOfTile } from '../geometry/geometry.js';
import { type Box, type Placement, placementOf, toSourceBox } from '../geometry/placement.js';
import type { InputSpec } from '../geometry/specifications.js';
import { type Aligner, alignerOf } from './alignment.js';
import { type Alignment, unalignedBox } from './alignment-map.js';
import { displayTableOf, lookUp, percentilesOfCounts, SampleCounts, toByte, toBytes } from './byte-table.js';
import { percentilesOf } from './percentile.js';
import {
  aspectRatioOf,
  bytesPerSample,
  createDisplayTransform,
  type DisplayTransform,
  type PixelFormat,
} from './pixel-format.js';
import { RowResampler } from './resample.js';
import { RowCoverage, TileCoverage, type TilePosition } from './tile-coverage.js';
import { TileCutter } from './tile-cutter.js';

export type { TilePosition } from './tile-coverage.js';

/** Samples decoded at once: enough to forget the cost per call, small enough for the cache. */
const BLOCK_SAMPLES = 32_768;

/**
 * Samples go through the display transform and, as rows, the resampler. With a window they are rounded to 8 bit
 * at once (*streamable*); percentiles of the whole image wait for `complete()`.
 */
export class WorkingImage {
  /** Tiles become ready before the last pixel. */
  readonly streamable: boolean;
  /** The header asked for a window chosen from the image itself. */
  readonly usesAutoWindow: boolean;
  /** uint8 [workingSize, workingSize], display values; black where nothing came yet. */
  readonly pixels: Uint8Array;
  readonly geometry: Geometry;
  readonly format: PixelFormat;
  readonly #minStd: number;
  readonly #placement: Placement;
  readonly #transform: DisplayTransform;
  readonly #rows: RowCoverage | null;
  readonly #tiles: TileCoverage | null;
  readonly #resampler: RowResampler | null;
  /** Display values of the samples being taken in; empty where a table gives them. */
  readonly #scratch: Float32Array;
  readonly #blockRows: number;
  /** float32 [workingSize, workingSize] display values, only where percentiles will be needed. */
  #floats: Float32Array | null;
  readonly #percentiles: readonly [number, number];
  /**
   * Display value of every 8-bit sample of a tile source, else null: then tiles need no float image. Their samples
   * lie in `pixels` as they came until `complete()` where percentiles are used.
   */
  readonly #displayTable: Float32Array | null;
  /** `#displayTable` as bytes of the working image. */
  readonly #byteTable: Uint8Array | null;
  readonly #cutter: TileCutter;
  readonly #aligner: Aligner | null;
  #alignment: Alignment | null = null;
  #completed = false;

  /** @throws SaladError HEADER_INVALID where the format is out of range. */
  constructor(
    geometry: Geometry,
    input: InputSpec,
    format: PixelFormat,
    minStd: number,
    source: 'rows' | 'tiles',
  ) {
    this.geometry = geometry;
    this.format = format;
    this.#minStd = minStd;
    this.#transform = createDisplayTransform(format);
    this.#placement = placementOf(input, format.rows, format.columns, aspectRatioOf(format));
    this.usesAutoWindow = format.voi.kind === 'auto';
    this.#aligner = input.alignment === undefined ? null : alignerOf(input.alignment);
    this.streamable = input.intensity.kind === 'window' && !this.usesAutoWindow && this.#aligner === null;
    this.#percentiles = percentileRange(input, format);
    const size = geometry.workingSize;
    this.pixels = new Uint8Array(size * size);
    const hasTable = source === 'tiles' && format.bitsAllocated === 8;
    this.#displayTable = hasTable ? displayTableOf(this.#transform) : null;
    this.#byteTable = this.#displayTable && toBytes(this.#displayTable);
    this.#floats = this.streamable || hasTable ? null : new Float32Array(size * size);
    this.#cutter = new TileCutter(geometry, this.pixels);
    if (source === 'rows') {
      this.#blockRows = Math.max(1, Math.min(format.rows, Math.floor(BLOCK_SAMPLES / format.columns)));
      this.#scratch = new Float32Array(this.#blockRows * format.columns);
      this.#rows = new RowCoverage(geometry, this.#placement);
      this.#tiles = null;
      const shape = {
        sourceRows: format.rows,
        sourceColumns: format.columns,
        targetRows: this.#placement.rows,
        targetColumns: this.#placement.columns,
      };
      this.#resampler = new RowResampler(shape, (row, values) => this.#takeTargetRow(row, values));
    } else {
      this.#blockRows = 0;
      this.#scratch = new Float32Array(hasTable ? 0 : geometry.coreSize * geometry.coreColumns);
      this.#rows = null;
      this.#tiles = new TileCoverage(geometry);
      this.#resampler = null;
    }
  }

  /** Source rows taken in so far; 0 for tiles. */
  get rowsReceived(): number {
    return this.#resampler?.rowsReceived ?? 0;
  }

  /** How the image was aligned; null where it was not, or not yet. */
  get alignment(): Alignment | null {
    return this.#alignment;
  }

  /** Every pixel of the image has come. */
  get isComplete(): boolean {
    return (this.#rows ?? this.#tiles!).isComplete;
  }

  /**
   * Takes the next whole rows of the source image.
   * @param samples one or more rows, row by row, little-endian
   * @returns the tiles that became ready, row by row; none before `complete()` where not streamable
   * @throws SaladError SAMPLE_COUNT_MISMATCH (nothing is taken in), MESSAGE_UNEXPECTED for a tile source
   */
  pushRows(samples: Uint8Array): TilePosition[] {
    const resampler = this.#resampler;
    if (!resampler || !this.#rows || this.#completed) throw unexpected('rows');
    const rowBytes = this.format.columns * bytesPerSample(this.format);
    const rowCount = samples.length / rowBytes;
    const rowsLeft = this.format.rows - resampler.rowsReceived;
    if (!Number.isInteger(rowCount) || rowCount < 1 || rowCount > rowsLeft) {
      throw new SaladError(
        'SAMPLE_COUNT_MISMATCH',
        `${samples.length} bytes are not 1 to ${rowsLeft} whole rows of ${rowBytes} bytes`,
      );
    }
    for (let row = 0; row < rowCount; row += this.#blockRows) {
      const end = Math.min(rowCount, row + this.#blockRows);
      this.#transform(samples.subarray(row * rowBytes, end * rowBytes), this.#scratch);
      resampler.push(this.#scratch, end - row);
    }
    const ready = this.#rows.take(resampler.rowsProduced);
    return this.streamable ? ready : [];
  }

  /**
   * Takes the core of one tile, already at working resolution.
   * @param samples [coreSize, coreColumns], little-endian
   * @returns the tiles that became ready, this one or neighbours; none before `complete()` where not streamable
   * @throws SaladError TILE_OUT_OF_GRID, TILE_DUPLICATE, SAMPLE_COUNT_MISMATCH (nothing is taken in),
   *   MESSAGE_UNEXPECTED for a row source
   */
  pushTile(row: number, column: number, samples: Uint8Array): TilePosition[] {
    if (!this.#tiles || this.#completed) throw unexpected('tiles');
    const { coreSize, coreColumns, workingSize } = this.geometry;
    this.#tiles.check(row, column);
    const bytes = coreSize * coreColumns * bytesPerSample(this.format);
    if (samples.length !== bytes) {
      throw new SaladError(
        'SAMPLE_COUNT_MISMATCH',
        `tile (${row}, ${column}) must have ${bytes} bytes, has ${samples.length}`,
      );
    }
    const table = this.#byteTable;
    if (!table) this.#transform(samples, this.#scratch);
    // The rows of a tile as wide as the image are one run.
    const run = coreColumns === workingSize ? coreSize * coreColumns : coreColumns;
    for (let from = 0; from < coreSize * coreColumns; from += run) {
      const at = (row * coreSize + from / coreColumns) * workingSize + column * coreColumns;
      if (!table) this.#store(this.#scratch, from, at, run);
      else if (this.streamable) lookUp(table, samples, from, this.pixels, at, run);
      else this.pixels.set(run < samples.length ? samples.subarray(from, from + run) : samples, at);
    }
    const ready = this.#tiles.take(row, column);
    return this.streamable ? ready : [];
  }

  /**
   * Ends the image: no pixel is taken afterwards. Where percentiles are used they are applied now, over the
   * pixels that came.
   * @returns the tiles not reported before: for percentiles all that are covered, else none
   */
  complete(): TilePosition[] {
    if (this.#completed) return [];
    this.#completed = true;
    if (this.streamable) return [];
    const coverage = this.#rows ?? this.#tiles!;
    if (this.#tiles && this.#displayTable) this.#stretchSamples(this.#tiles, this.#displayTable);
    else if (this.#floats) {
      const values = coverage.valuesOf(this.#floats, this.#placement);
      const [low, high] = percentilesOf(values, this.#percentiles);
      stretch(this.#floats, low!, high!, this.pixels);
      this.#floats = null;
    }
    // Half an image has nothing to be aligned by: its tiles are scored where they lie.
    if (this.#aligner !== null && coverage.isComplete) {
      this.#alignment = this.#aligner.align(this.pixels, this.geometry.workingSize);
    }
    return coverage.coveredTiles();
  }

  /** Takes the image as somebody else has aligned it: its pixels [workingSize, workingSize] and how. */
  takeAligned(pixels: Uint8Array, alignment: Alignment): void {
    this.pixels.set(pixels);
    this.#alignment = alignment;
  }

  /** Percentiles from 256 counts, then one look-up for each pixel: what the float image would give. */
  #stretchSamples(tiles: TileCoverage, display: Float32Array): void {
    const { coreSize, coreColumns, workingSize } = this.geometry;
    const pixels = this.pixels;
    const received = tiles.receivedTiles();
    const counts = new SampleCounts();
    for (const tile of received) {
      const { top, left, bottom, right } = tiles.placedBox(tile, this.#placement);
      for (let y = top; y < bottom && left < right; y++) {
        counts.add(pixels, y * workingSize + left, right - left);
      }
    }
    const [low, high] = percentilesOfCounts(counts.total(), display, this.#percentiles);
    const table = new Uint8Array(256);
    stretch(display, low!, high!, table);
    for (const { row, column } of received) {
      for (let y = row * coreSize; y < (row + 1) * coreSize; y++) {
        const at = y * workingSize + column * coreColumns;
        lookUp(table, pixels, at, pixels, at, coreColumns);
      }
    }
  }

  /** Tiles that cannot be scored: their core or halo is not covered by what came so far. */
  missingTiles(): TilePosition[] {
    return (this.#rows ?? this.#tiles!).missingTiles();
  }

  /** Nothing in a tile is to be scored. */
  isBackground(row: number, column: number): boolean {
    return this.backgroundPatches(row, column).length === this.geometry.patchesPerTile;
  }

  /** Places in the patch grid of those of a covered tile's patches whose core is background: not to be scored. */
  backgroundPatches(row: number, column: number): number[] {
    if (this.#minStd <= 0) return [];
    const { coreSize, coreColumns, patchesPerSide, patchesPerTile } = this.geometry;
    const cores = coreColumns / coreSize;
    const isFlat = Array.from({ length: cores }, (_, core) => this.#isFlat(row, column * cores + core));
    const patches: number[] = [];
    for (let within = 0; within < patchesPerTile; within++) {
      const core = Math.floor((within % (cores * patchesPerSide)) / patchesPerSide);
      if (isFlat[core]) patches.push(patchOfTile(this.geometry, row, column, within));
    }
    return patches;
  }

  /** The standard deviation of a core's samples is below the model's bound; `column` counts cores, not tiles. */
  #isFlat(row: number, column: number): boolean {
    const { coreSize, workingSize } = this.geometry;
    const pixels = this.pixels;
    let sum = 0;
    let sumOfSquares = 0;
    for (let y = row * coreSize; y < (row + 1) * coreSize; y++) {
      const from = y * workingSize + column * coreSize;
      for (let at = from; at < from + coreSize; at++) {
        const value = pixels[at]!;
        sum += value;
        sumOfSquares += value * value;
      }
    }
    const count = coreSize * coreSize;
    const variance = sumOfSquares / count - (sum / count) ** 2;
    return Math.sqrt(Math.max(0, variance)) < this.#minStd;
  }

  /** Copies a tile with its halo, see `TileCutter.cut`. */
  cutTile(row: number, column: number, target: Uint8Array): void {
    this.#cutter.cut(row, column, target);
  }

  /** A box of working pixels in source pixels, clipped to the source image; of an aligned image what holds it. */
  sourceBox(top: number, left: number, bottom: number, right: number): Box {
    const box = { top, left, bottom, right };
    const map = this.#alignment?.map;
    const unaligned = map ? unalignedBox(map, this.geometry.workingSize, box) : box;
    return toSourceBox(this.#placement, this.format.rows, this.format.columns, unaligned);
  }

  #takeTargetRow(row: number, values: Float32Array): void {
    const { top, left, columns } = this.#placement;
    this.#store(values, 0, (top + row) * this.geometry.workingSize + left, columns);
  }

  #store(values: Float32Array, from: number, at: number, count: number): void {
    const floats = this.#floats;
    if (floats) {
      for (let i = 0; i < count; i++) floats[at + i] = values[from + i]!;
      return;
    }
    const pixels = this.pixels;
    for (let i = 0; i < count; i++) pixels[at + i] = toByte(values[from + i]!);
  }
}

/** A bundle that stretches by percentiles was calibrated with its own; the header's count for the others. */
function percentileRange(input: InputSpec, format: PixelFormat): [number, number] {
  if (input.intensity.kind === 'percentile') return [input.intensity.low, input.intensity.high];
  if (format.voi.kind === 'auto') return [format.voi.lowPercentile, format.voi.highPercentile];
  return [0, 100];
}

/** Maps [low, high] to [0, 255]; an image without contrast becomes black up to `high` and white above. */
function stretch(values: Float32Array, low: number, high: number, pixels: Uint8Array): void {
  const scale = high > low ? 255 / (high - low) : 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    pixels[i] = scale > 0 ? toByte((value - low) * scale) : value > high ? 255 : 0;
  }
}

function unexpected(what: 'rows' | 'tiles'): SaladError {
  return new SaladError('MESSAGE_UNEXPECTED', `this acquisition does not take ${what} now`);
}
