/**
 * The working image of one acquisition: the radiograph at the model's resolution in 8 bits. It is filled from rows or tiles
 * in messages of any size, and its encoder tiles are ready as soon as their core and halo are complete.
 */
import { SaladError } from '../../errors/index.js';
import { type AffineTransform, apply, compose, type Point } from '../../geometry/affine.js';
import type { Geometry } from '../../geometry/geometry.js';
import {
  type Box,
  boundingBox,
  cornersOf,
  type Placement,
  placedToSource,
  placementOf,
} from '../../geometry/placement.js';
import type { InputSpec } from '../../geometry/specifications.js';
import type { TileIndex } from '../../geometry/tile-index.js';
import { type Aligner, alignerOf } from '../alignment/alignment.js';
import { type Alignment, unaligned } from '../alignment/alignment-map.js';
import { flatPatches, patchesOfTile } from '../content/background.js';
import { type Emptiness, ImageContent, isTooSmall } from '../content/image-content.js';
import { invalid } from '../pixel-format/invalid-format.js';
import {
  aspectRatioOf,
  bytesPerSample,
  createDisplayTransform,
  type DisplayTransform,
  displayLevel,
  type PixelFormat,
} from '../pixel-format/pixel-format.js';
import { RowCoverage, TileCoverage } from '../tiles/tile-coverage.js';
import { TileCutter } from '../tiles/tile-cutter.js';
import { createRowWriter, isUnscaled, type RowWriter } from './row-writer.js';
import { isStreamable } from './streamable.js';
import { WorkingPixels } from './working-pixels.js';

/**
 * Samples are converted by the display transform, and rows are resampled. With a window they are rounded to 8 bits at once
 * (*streamable*); percentiles of the whole image are applied by `complete()`.
 */
export class WorkingImage {
  /** Whether tiles become ready before the last pixel. */
  readonly streamable: boolean;
  /** Whether the header requests a window computed from the image. */
  readonly usesAutoWindow: boolean;
  readonly geometry: Geometry;
  readonly format: PixelFormat;
  /** Rectangle of the source image in the working image. */
  readonly placement: Placement;
  readonly #minStd: number;
  readonly #transform: DisplayTransform;
  readonly #rows: RowCoverage | null;
  readonly #tiles: TileCoverage | null;
  readonly #rowWriter: RowWriter | null;
  readonly #pixels: WorkingPixels;
  /** Display values of a tile; empty where they are not needed. */
  readonly #scratch: Float32Array;
  readonly #cutter: TileCutter;
  readonly #aligner: Aligner | null;
  #alignment: Alignment | null = null;
  #placedPixels: Uint8Array | null = null;
  #workingToSource: AffineTransform;
  #completed = false;
  readonly #content: ImageContent;
  readonly #isTooSmall: boolean;
  #emptiness: Emptiness | undefined;

  /** @throws SaladError HEADER_INVALID where the format is out of range, or has 32 bits for rows */
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
      invalid('bits_allocated', 'must be 8 or 16 for rows: 32 is only for tiles');
    }
    this.#transform = createDisplayTransform(format);
    this.placement = placementOf(input, format.rows, format.columns, aspectRatioOf(format));
    this.#workingToSource = placedToSource(this.placement, format.rows, format.columns);
    this.streamable = isStreamable(input, format);
    // A streamable image is rounded to whole display values.
    const level = Math.max(this.streamable ? 1 : 0, displayLevel(format));
    this.#content = new ImageContent(this.placement, geometry.workingSize, level);
    this.#isTooSmall = isTooSmall(format.rows, format.columns, geometry.workingSize);
    this.usesAutoWindow = format.voi.kind === 'auto';
    this.#aligner = input.alignment === undefined ? null : alignerOf(input.alignment);
    const { placement } = this;
    const [transform, isFinal] = [this.#transform, this.streamable];
    const isResampled = source === 'rows' && !(isFinal && isUnscaled(format, placement));
    this.#pixels = new WorkingPixels({ geometry, input, format, transform, isResampled, isFinal });
    this.#cutter = new TileCutter(geometry, this.pixels);
    const { workingSize, coreSize, coreColumns } = geometry;
    if (source === 'rows') {
      const pixels = this.#pixels;
      this.#rowWriter = createRowWriter({ format, placement, workingSize, transform, pixels });
      this.#rows = new RowCoverage(geometry, placement);
      this.#tiles = null;
      this.#scratch = new Float32Array(0);
    } else {
      this.#rowWriter = null;
      this.#rows = null;
      this.#tiles = new TileCoverage(geometry);
      this.#scratch = new Float32Array(this.#pixels.takesSamples ? 0 : coreSize * coreColumns);
    }
  }

  /** uint8 [workingSize, workingSize] display values; black where nothing was received. */
  get pixels(): Uint8Array {
    return this.#pixels.bytes;
  }

  /** Number of source rows received; 0 for tiles. */
  get rowsReceived(): number {
    return this.#rowWriter?.rowsReceived ?? 0;
  }

  /** uint8 [workingSize, workingSize]: `pixels` before alignment, with the source at its placement. */
  get placedPixels(): Uint8Array {
    return this.#placedPixels ?? this.pixels;
  }

  /** The alignment of the image; null before it, or without one. */
  get alignment(): Alignment | null {
    return this.#alignment;
  }

  /** Whether it is not known yet that the image has structure to score: its tiles must wait. */
  get isUndecided(): boolean {
    return !this.#completed && (this.#isTooSmall || !this.#content.hasEnoughStructure);
  }

  /** Whether the image is complete and has no structure (image-content.ts): all its patches are background. */
  get isEmpty(): boolean {
    return this.#emptiness !== undefined;
  }

  /** Why the image has no structure to score; undefined where it has some, and before `complete()`. */
  get emptiness(): Emptiness | undefined {
    return this.#emptiness;
  }

  /** Whether every pixel of the image was received. */
  get isComplete(): boolean {
    return (this.#rows ?? this.#tiles!).isComplete;
  }

  /**
   * Adds the next whole rows of the source image.
   * @param samples one or more rows, row by row, little-endian
   * @returns the tiles that became ready, row by row; none before `complete()` where not streamable
   * @throws SaladError SAMPLE_COUNT_MISMATCH (the image is unchanged), MESSAGE_UNEXPECTED for a tile source
   */
  pushRows(samples: Uint8Array): TileIndex[] {
    return [...this.rowSteps(samples)].flat();
  }

  /** As `pushRows`, in steps of about a millisecond: yields the tiles that each step made ready. */
  *rowSteps(samples: Uint8Array): Generator<TileIndex[]> {
    const writer = this.#rowWriter;
    if (!writer || !this.#rows || this.#completed) throw unexpected('rows');
    const rowBytes = this.format.columns * bytesPerSample(this.format);
    const rowCount = samples.length / rowBytes;
    const rowsLeft = this.format.rows - writer.rowsReceived;
    if (!Number.isInteger(rowCount) || rowCount < 1 || rowCount > rowsLeft) {
      throw new SaladError(
        'SAMPLE_COUNT_MISMATCH',
        `${samples.length} bytes are not 1 to ${rowsLeft} whole rows of ${rowBytes} bytes`,
      );
    }
    for (let row = 0; row < rowCount; row += writer.blockRows) {
      const end = Math.min(rowCount, row + writer.blockRows);
      const block = samples.subarray(row * rowBytes, end * rowBytes);
      for (const _step of writer.steps(block, end - row)) yield [];
      const ready = this.#rows.update(writer.rowsWritten);
      if (this.streamable) {
        this.#content.countAbove(this.#pixels.valueAt(), this.placement.top + writer.rowsWritten);
        yield ready;
      } else yield [];
    }
  }

  /**
   * Adds the core of one tile, which is at working resolution already.
   * @param samples [coreSize, coreColumns], little-endian
   * @returns the tiles that became ready, this one or neighbours; none before `complete()` where not streamable
   * @throws SaladError TILE_OUT_OF_GRID, TILE_DUPLICATE, SAMPLE_COUNT_MISMATCH, SAMPLE_INVALID (the image is
   *   unchanged), MESSAGE_UNEXPECTED for a row source
   */
  pushTile(row: number, column: number, samples: Uint8Array): TileIndex[] {
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
    const pixels = this.#pixels;
    if (!pixels.takesSamples) this.#transform(samples, this.#scratch);
    // The rows of a tile that is as wide as the image are written as one run.
    const run = coreColumns === workingSize ? coreSize * coreColumns : coreColumns;
    for (let from = 0; from < coreSize * coreColumns; from += run) {
      const at = (row * coreSize + from / coreColumns) * workingSize + column * coreColumns;
      if (pixels.takesSamples) pixels.writeSamples(samples, from, at, run);
      else pixels.write(this.#scratch, from, at, run);
    }
    const ready = this.#tiles.add(row, column);
    if (!this.streamable) return [];
    const box = this.#tiles.placedBox(row, column, this.placement);
    this.#content.countIn(pixels.valueAt(), box);
    return ready;
  }

  /**
   * Ends the image: no pixel is accepted afterwards. Where percentiles are used, they are computed from the received pixels
   * and applied now.
   * @returns the tiles that were not reported before: all covered tiles where not streamable, else none
   */
  complete(): TileIndex[] {
    if (this.#completed) return [];
    this.#completed = true;
    const coverage = this.#rows ?? this.#tiles!;
    const boxes = coverage.receivedBoxes(this.placement);
    this.#emptiness = this.#emptinessOf(boxes);
    if (this.streamable) return [];
    this.#pixels.applyPercentiles(coverage, this.placement);
    // An incomplete image cannot be aligned: its tiles are scored at their positions.
    if (this.#aligner !== null && coverage.isComplete) {
      this.#placedPixels = this.pixels.slice();
      this.setAlignment(this.#aligner.align(this.pixels, this.geometry.workingSize));
    }
    return coverage.coveredTiles();
  }

  #emptinessOf(boxes: readonly Box[]): Emptiness | undefined {
    if (this.#isTooSmall) return 'tooSmall';
    const valueAt = this.#pixels.valueAt();
    if (this.#content.hasStructureIn(valueAt, boxes)) return undefined;
    return this.#content.isBlank(valueAt, boxes) ? 'blank' : 'flat';
  }

  /** Sets the alignment, also one by the worker that scored the image as one tile. The pixels are not changed. */
  setAlignment(alignment: Alignment): void {
    this.#alignment = alignment;
    const placed = placedToSource(this.placement, this.format.rows, this.format.columns);
    this.#workingToSource = compose(placed, unaligned(alignment.map, this.geometry.workingSize));
  }

  /** Tiles that cannot be scored, because pixels of their core or halo were not received. */
  missingTiles(): TileIndex[] {
    return (this.#rows ?? this.#tiles!).missingTiles();
  }

  /** Whether all patches of a tile are background. */
  isBackground(tile: TileIndex): boolean {
    return this.backgroundPatches(tile).length === this.geometry.patchesPerTile;
  }

  /** Indices in the patch grid of the background patches of a covered tile; they are not scored. */
  backgroundPatches(tile: TileIndex): number[] {
    if (this.isEmpty) return patchesOfTile(this.geometry, tile);
    return flatPatches(this.pixels, this.geometry, this.#minStd, tile);
  }

  /** Copies a tile with its halo, see `TileCutter.cut`. */
  cutTile(tile: TileIndex, target: Uint8Array): void {
    this.#cutter.cut(tile, target);
  }

  /** Transform from working pixels to source pixels: the inverse of alignment, if there was one, and of placement. */
  get workingToSource(): AffineTransform {
    return this.#workingToSource;
  }

  /** Corners of a box of working pixels in source pixels, clockwise from its top left; not clipped. */
  sourceCorners(box: Box): readonly Point[] {
    return cornersOf(box).map((corner) => apply(this.#workingToSource, corner));
  }

  /** Smallest upright box, in source pixels, that contains a box of working pixels; clipped to the source image. */
  sourceBox(top: number, left: number, bottom: number, right: number): Box {
    const corners = this.sourceCorners({ top, left, bottom, right });
    return boundingBox(corners, this.format.rows, this.format.columns);
  }
}

function unexpected(what: 'rows' | 'tiles'): SaladError {
  return new SaladError('MESSAGE_UNEXPECTED', `this acquisition does not take ${what} now`);
}
