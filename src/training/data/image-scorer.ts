/**
 * Whole images through an engine, for fitting, calibration and evaluation. It uses the server's own parts
 * (WorkingImage, Engine, robust z, aggregate), so what is trained and judged is what is served.
 */
import { readFile } from 'node:fs/promises';
import { type ImageFrame, openImageFile } from '../../dicom/decoder/image-file.js';
import { allocatePatchBatch } from '../../engines/batch.js';
import type { Engine, EngineModel, EngineModelSource, PatchBatch, Precision } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';
import { type Geometry, geometryOf, patchOfTile } from '../../geometry/geometry.js';
import type { CalibrationTables, InputSpec, ScoringSpec, TilingSpec } from '../../geometry/specifications.js';
import type { DecodedImage } from '../../imaging/decode.js';
import { defaultPixelFormat } from '../../imaging/pixel-format.js';
import { WorkingImage } from '../../imaging/working-image.js';
import { imageScore } from '../../scoring/aggregate.js';
import { robustZ } from '../../scoring/calibration.js';
import { IMAGE_PIXELS_MAX } from './images.js';

/** Most tiles of one image in one engine call. */
const BATCH_TILES = 64;
/** Images decoded ahead of the one being scored. */
const LOOKAHEAD = 3;

/** How an encoded image becomes tiles: the part of a manifest that does not depend on training. */
export interface RenderSpec {
  readonly input: InputSpec;
  readonly tiling: TilingSpec;
}

/**
 * An image file as a complete working image, with the pixel format the server assumes for it.
 * @param frame from 1, of a DICOM file of several
 * @throws SaladError IMAGE_UNREADABLE, IMAGE_TOO_LARGE, DICOM_UNSUPPORTED
 */
export async function renderWorkingImage(
  source: string | Uint8Array,
  spec: RenderSpec,
  frame = 1,
): Promise<WorkingImage> {
  return renderDecoded(await decode(source, frame), spec);
}

async function decode(source: string | Uint8Array, frame: number): Promise<ImageFrame> {
  const bytes = typeof source === 'string' ? await readFile(source) : source;
  const file = await openImageFile(bytes, { maxPixels: IMAGE_PIXELS_MAX });
  try {
    return await file.frame(frame - 1);
  } finally {
    file.close();
  }
}

/** A decoded image as a complete working image; without a format of its own with the default. */
export function renderDecoded(decoded: DecodedImage & Partial<ImageFrame>, spec: RenderSpec): WorkingImage {
  const { rows, columns, bitsAllocated, bitsStored } = decoded;
  const format = decoded.format ?? defaultPixelFormat(rows, columns, bitsAllocated, bitsStored);
  const geometry = geometryOf(spec.input, spec.tiling);
  const image = new WorkingImage(geometry, spec.input, format, spec.tiling.minStd, 'rows');
  image.pushRows(decoded.samples);
  image.complete();
  return image;
}

export interface FrameOfFile {
  readonly path: string;
  /** From 1; absent where the file has only one. */
  readonly frame?: number;
}

export interface RenderedItem<T> {
  readonly item: T;
  readonly decoded: DecodedImage;
  readonly image: WorkingImage;
}

/** @throws SaladError naming the file: it was readable when the data set was opened, and is no longer */
async function renderItem<T extends FrameOfFile>(item: T, spec: RenderSpec): Promise<RenderedItem<T>> {
  try {
    const decoded = await decode(item.path, item.frame ?? 1);
    return { item, decoded, image: renderDecoded(decoded, spec) };
  } catch (error) {
    const reason = error instanceof SaladError ? error.reason : 'IMAGE_UNREADABLE';
    throw new SaladError(reason, `${item.path}: ${(error as Error).message}`, { cause: error });
  }
}

/** Renders a few images ahead, in order: decoding overlaps with scoring, memory stays bounded. */
export async function* renderAll<T extends FrameOfFile>(
  items: readonly T[],
  spec: RenderSpec,
): AsyncGenerator<RenderedItem<T>> {
  const pending: Promise<RenderedItem<T>>[] = [];
  const start = (index: number): void => {
    const item = items[index];
    if (!item) return;
    const rendered = renderItem(item, spec);
    // Awaited below; without this a failure of a later image would count as unhandled meanwhile.
    rendered.catch(() => undefined);
    pending.push(rendered);
  };
  for (let index = 0; index < LOOKAHEAD; index += 1) start(index);
  for (let index = 0; index < items.length; index += 1) {
    start(index + LOOKAHEAD);
    yield await pending.shift()!;
  }
}

/** Everything an engine says about one image, over the whole patch grid, row by row. */
export interface ImagePatches {
  /** float32 [patchGrid * patchGrid]; NaN where it is background, or without a bank. */
  readonly scores: Float32Array;
  /** float32 [patchGrid * patchGrid, dimension]; zero where it is background. */
  readonly embeddings: Float32Array;
  /** 1 where the patch is no background. */
  readonly scored: Uint8Array;
}

/** One loaded model and the buffers it needs. Not reentrant: await one image before the next. */
export class ImageScorer {
  readonly geometry: Geometry;
  readonly dimension: number;
  /** What the engine runs the model in. */
  readonly precision: Precision;
  readonly #model: EngineModel;
  readonly #pixels: Uint8Array;
  readonly #positions: Int32Array;
  readonly #patches: PatchBatch;
  readonly #capacity: number;
  readonly #hasBank: boolean;

  private constructor(model: EngineModel, source: EngineModelSource) {
    this.geometry = source.geometry;
    this.dimension = model.dimension;
    this.precision = model.precision;
    this.#model = model;
    this.#hasBank = source.search !== undefined;
    this.#capacity = Math.min(BATCH_TILES, source.geometry.tileCount);
    this.#pixels = new Uint8Array(this.#capacity * source.geometry.tilePixels);
    this.#positions = new Int32Array(this.#capacity * 2);
    this.#patches = allocatePatchBatch(this.#capacity, model);
  }

  static async open(engine: Engine, source: EngineModelSource): Promise<ImageScorer> {
    return new ImageScorer(await engine.load(source), source);
  }

  /** Runs every tile of a complete image that is not background. */
  async run(image: WorkingImage): Promise<ImagePatches> {
    const { patchGrid, tileRows, tileColumns, patchesPerTile } = this.geometry;
    const skipped = new Uint8Array(patchGrid * patchGrid);
    const result: ImagePatches = {
      scores: new Float32Array(patchGrid * patchGrid).fill(Number.NaN),
      embeddings: new Float32Array(patchGrid * patchGrid * this.dimension),
      scored: new Uint8Array(patchGrid * patchGrid),
    };
    let count = 0;
    for (let row = 0; row < tileRows; row += 1) {
      for (let column = 0; column < tileColumns; column += 1) {
        const background = image.backgroundPatches(row, column);
        if (background.length === patchesPerTile) continue;
        for (const patch of background) skipped[patch] = 1;
        this.#cut(image, row, column, count);
        count += 1;
        if (count < this.#capacity) continue;
        await this.#flush(count, skipped, result);
        count = 0;
      }
    }
    if (count > 0) await this.#flush(count, skipped, result);
    return result;
  }

  async dispose(): Promise<void> {
    await this.#model.dispose();
  }

  #cut(image: WorkingImage, row: number, column: number, index: number): void {
    const size = this.geometry.tilePixels;
    image.cutTile(row, column, this.#pixels.subarray(index * size, (index + 1) * size));
    this.#positions[2 * index] = row;
    this.#positions[2 * index + 1] = column;
  }

  async #flush(count: number, skipped: Uint8Array, result: ImagePatches): Promise<void> {
    const { patchesPerTile } = this.geometry;
    await this.#model.run({ count, pixels: this.#pixels, positions: this.#positions }, this.#patches);
    for (let index = 0; index < count; index += 1) {
      const row = this.#positions[2 * index]!;
      const column = this.#positions[2 * index + 1]!;
      for (let within = 0; within < patchesPerTile; within += 1) {
        const patch = patchOfTile(this.geometry, row, column, within);
        if (skipped[patch] === 1) continue;
        const from = index * patchesPerTile + within;
        const embedding = this.#patches.embeddings.subarray(
          from * this.dimension,
          (from + 1) * this.dimension,
        );
        result.embeddings.set(embedding, patch * this.dimension);
        result.scored[patch] = 1;
        if (this.#hasBank) result.scores[patch] = this.#patches.scores[from]!;
      }
    }
  }
}

/** Robust z per patch (NaN where not scored) and the image score, as the server's aggregate computes them. */
export function judgeImage(
  scores: Float32Array,
  calibration: CalibrationTables,
  geometry: Geometry,
  aggregate: ScoringSpec['aggregate'],
): { readonly patchZ: Float32Array; readonly score: number } {
  const patchZ = scores.map((score, patch) =>
    Number.isNaN(score) ? Number.NaN : robustZ(calibration, patch, score),
  );
  return { patchZ, score: imageScore(patchZ, geometry, aggregate) };
}
