/**
 * The working image of one acquisition: the radiograph at the model's resolution, 8 bit, filled from rows or
 * tiles in whatever pieces they come, and cut into encoder tiles as soon as core and halo are there.
 */

import { SaladError } from '../errors/index.js';
import { type AffineTransform, apply, compose, type Point } from '../geometry/affine.js';
import type { Geometry } from '../geometry/geometry.js';
import {
  type Box,
  boundingBox,
  cornersOf,
  type Placement,
  placedToSource,
  placementOf,
} from '../geometry/placement.js';
import type { InputSpec } from '../geometry/specifications.js';
import { type Aligner, alignerOf } from './alignment.js';
import { type Alignment, unaligned } from './alignment-map.js';
import { flatPatches, patchesOfTile } from './background.js';
import { displayTableOf, lookUp, toByte, toBytes } from './byte-table.js';
import { type Emptiness, ImageContent, isTooSmall } from './image-content.js';
import { invalid } from './invalid-format.js';
import { percentilesOf } from './percentile.js';
import {
  aspectRatioOf,
  bytesPerSample,
  createDisplayTransform,
  type DisplayTransform,
  displayLevel,
  type PixelFormat,
} from './pixel-format.js';
import { RowResampler } from './resample.js';
import { percentileRange, stretch, stretchSamples } from './stretch.js';
import { RowCoverage, TileCoverage, type TilePosition } from './tile-coverage.js';
import { TileCutter } from './tile-cutter.js';

export type { TilePosition } from './tile-coverage.js';

/** Samples decoded at once: enough to forget the cost per call, small enough for the cache. */
export const BLOCK_SAMPLES = 32_768;

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
  #placedPixels: Uint8Array | null = null;
  #workingToSource: AffineTransform;
  #completed = false;
  readonly #content: ImageContent;
  readonly #isTooSmall: boolean;
  #emptiness: Emptiness | undefined;

  /** @throws SaladError HEADER_INVALID where the format is out of range, or of 32 bits for rows. */
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
    if (source === 'rows' && format.bitsAllocated === 32) {
      invalid('bits_allocated', 'must be 8 or 16 for rows: 32 is for tiles alone');
    }
    this.#transform = createDisplayTransform(format);
    this.#placement = placementOf(input, format.rows, format.columns, aspectRatioOf(format));
    this.#workingToSource = placedToSource(this.#placement, format.rows, format.columns);
    this.streamable = isStreamable(input, format);
    // A streamable image is rounded to whole display values.
    const level = Math.max(this.streamable ? 1 : 0, displayLevel(format));
    this.#content = new ImageContent(this.#placement, geometry.workingSize, level);
    this.#isTooSmall = isTooSmall(format.rows, format.columns, geometry.workingSize);
    this.usesAutoWindow = format.voi.kind === 'auto';
    this.#aligner = input.alignment === undefined ? null : alignerOf(input.alignment);
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

  /** Where the source lies in the working image. */
  get placement(): Placement {
    return this.#placement;
  }

  /** Source rows taken in so far; 0 for tiles. */
  get rowsReceived(): number {
    return this.#resampler?.rowsReceived ?? 0;
  }

  /** uint8 [workingSize, workingSize]: `pixels` before alignment, where the source lies as its placement says. */
  get placedPixels(): Uint8Array {
    return this.#placedPixels ?? this.pixels;
  }

  /** How the image was aligned; null where it was not, or not yet. */
  get alignment(): Alignment | null {
    return this.#alignment;
  }

  /** Nothing that came so far says that the image holds something to score: its tiles must wait. */
  get isUndecided(): boolean {
    return !this.#completed && (this.#isTooSmall || !this.#content.hasEnoughStructure);
  }

  /** The image is complete and holds nothing to score (image-content.ts): all its patches are background. */
  get isEmpty(): boolean {
    return this.#emptiness !== undefined;
  }

  /** Why it holds nothing; undefined where it holds something, and before `complete()`. */
  get emptiness(): Emptiness | undefined {
    return this.#emptiness;
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
    return [...this.rowSteps(samples)].flat();
  }

  /** As `pushRows`, in steps of about a millisecond: yields the tiles that each step made ready. */
  *rowSteps(samples: Uint8Array): Generator<TilePosition[]> {
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
      for (const _step of resampler.steps(this.#scratch, end - row)) yield [];
      const ready = this.#rows.take(resampler.rowsProduced);
      if (this.streamable) {
        this.#content.lookAbove(this.#valueAt(), this.#placement.top + resampler.rowsProduced);
        yield ready;
      } else yield [];
    }
  }

  /**
   * Takes the core of one tile, already at working resolution.
   * @param samples [coreSize, coreColumns], little-endian
   * @returns the tiles that became ready, this one or neighbours; none before `complete()` where not streamable
   * @throws SaladError TILE_OUT_OF_GRID, TILE_DUPLICATE, SAMPLE_COUNT_MISMATCH, SAMPLE_INVALID (nothing is taken in),
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
    if (!this.streamable) return [];
    const box = this.#tiles.placedBox({ row, column }, this.#placement);
    this.#content.lookAt(this.#valueAt(), box);
    return ready;
  }

  /**
   * Ends the image: no pixel is taken afterwards. Where percentiles are used they are applied now, over the
   * pixels that came.
   * @returns the tiles not reported before: for percentiles all that are covered, else none
   */
  complete(): TilePosition[] {
    if (this.#completed) return [];
    this.#completed = true;
    const coverage = this.#rows ?? this.#tiles!;
    const boxes = coverage.receivedBoxes(this.#placement);
    this.#emptiness = this.#emptinessOf(boxes);
    if (this.streamable) return [];
    if (this.#tiles && this.#displayTable) {
      const [tiles, table] = [this.#tiles, this.#displayTable];
      stretchSamples(this.pixels, table, this.#percentiles, tiles, this.geometry, this.#placement);
    } else if (this.#floats) {
      const values = coverage.valuesOf(this.#floats, this.#placement);
      const [low, high] = percentilesOf(values, this.#percentiles);
      stretch(this.#floats, low!, high!, this.pixels);
      this.#floats = null;
    }
    // Half an image has nothing to be aligned by: its tiles are scored where they lie.
    if (this.#aligner !== null && coverage.isComplete) {
      this.#placedPixels = this.pixels.slice();
      this.takeAlignment(this.#aligner.align(this.pixels, this.geometry.workingSize));
    }
    return coverage.coveredTiles();
  }

  #emptinessOf(boxes: readonly Box[]): Emptiness | undefined {
    if (this.#isTooSmall) return 'tooSmall';
    if (this.#content.holds(this.#valueAt(), boxes)) return undefined;
    return this.#content.isBlank(this.#valueAt(), boxes) ? 'blank' : 'flat';
  }

  /** Takes how the tile was aligned that is the whole image, by the worker that scored it; the pixels stay as they are. */
  takeAlignment(alignment: Alignment): void {
    this.#alignment = alignment;
    const placed = placedToSource(this.#placement, this.format.rows, this.format.columns);
    this.#workingToSource = compose(placed, unaligned(alignment.map, this.geometry.workingSize));
  }

  /** Tiles that cannot be scored: their core or halo is not covered by what came so far. */
  missingTiles(): TilePosition[] {
    return (this.#rows ?? this.#tiles!).missingTiles();
  }

  /** Nothing in a tile is to be scored. */
  isBackground(row: number, column: number): boolean {
    return this.backgroundPatches(row, column).length === this.geometry.patchesPerTile;
  }

  /** Places in the patch grid of those of a covered tile's patches that are background: not to be scored. */
  backgroundPatches(row: number, column: number): number[] {
    if (this.isEmpty) return patchesOfTile(this.geometry, row, column);
    return flatPatches(this.pixels, this.geometry, this.#minStd, row, column);
  }

  /** Copies a tile with its halo, see `TileCutter.cut`. */
  cutTile(row: number, column: number, target: Uint8Array): void {
    this.#cutter.cut(row, column, target);
  }

  /** From working pixels to source pixels: alignment, where there was one, and placement undone. */
  get workingToSource(): AffineTransform {
    return this.#workingToSource;
  }

  /** Corners of a box of working pixels in source pixels, clockwise from its top left; not clipped. */
  sourceCorners(box: Box): readonly Point[] {
    return cornersOf(box).map((corner) => apply(this.#workingToSource, corner));
  }

  /** A box of working pixels in source pixels, clipped to the source image; of an aligned image what holds it. */
  sourceBox(top: number, left: number, bottom: number, right: number): Box {
    const corners = this.sourceCorners({ top, left, bottom, right });
    return boundingBox(corners, this.format.rows, this.format.columns);
  }

  #takeTargetRow(row: number, values: Float32Array): void {
    const { top, left, columns } = this.#placement;
    this.#store(values, 0, (top + row) * this.geometry.workingSize + left, columns);
  }

  /** Display values as they are before percentiles, by place in the working image. */
  #valueAt(): (index: number) => number {
    const { pixels } = this;
    const [floats, table] = [this.#floats, this.#displayTable];
    if (floats) return (index) => floats[index]!;
    if (table && !this.streamable) return (index) => table[pixels[index]!]!;
    return (index) => pixels[index]!;
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

/** Neither percentiles of the whole image nor an alignment to wait for. */
export function isStreamable(input: InputSpec, format: PixelFormat): boolean {
  return input.intensity.kind === 'window' && format.voi.kind !== 'auto' && input.alignment === undefined;
}

function unexpected(what: 'rows' | 'tiles'): SaladError {
  return new SaladError('MESSAGE_UNEXPECTED', `this acquisition does not take ${what} now`);
}
