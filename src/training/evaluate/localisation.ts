/** Measures whether high patch scores are on the lesion, where a data set has lesion masks. */
import { existsSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { SaladError, systemReason } from '../../errors/index.js';
import { columnOf, rowOf } from '../../geometry/cells.js';
import type { Geometry } from '../../geometry/geometry.js';
import { type DecodedImage, decodeImage } from '../../imaging/decode/decode.js';
import { PatchField } from '../../imaging/map/anomaly-map.js';
import { patchSourceBox } from '../../imaging/map/patch-box.js';
import type { WorkingImage } from '../../imaging/working-image/working-image.js';
import { type AggregateSpec, rankedCells } from '../../scoring/aggregate.js';
import type { DatasetImage } from '../data/dataset.js';
import { PerRegionOverlap } from './aupro.js';
import { auroc } from './metrics.js';

/** A patch with at least this fraction of lesion is a lesion patch; with less, but some, it is left out. */
const LESION_FRACTION_MIN = 0.25;
/** Pixels of the working image between two samples of the map; fine enough for lesions of a few millimetres. */
const MAP_STEP = 4;
const MASK_PIXELS_MAX = 64 * 1024 * 1024;

export interface LocalisationFigures {
  /** Number of images with a mask. */
  readonly images: number;
  /** AUROC of robust z between lesion patches and lesion-free patches of these images; null where one kind is missing. */
  readonly patchAuroc: number | null;
  /** Area under the per-region-overlap curve up to a false-positive rate of 0.3 (aupro.ts). */
  readonly aupro: number | null;
  /** Fraction of images whose top patch contains lesion. */
  readonly pointingHit: number;
}

/** A lesion mask in source pixels; nonzero = lesion. */
export interface LesionMask {
  readonly rows: number;
  readonly columns: number;
  readonly samples: Uint8Array;
}

function invalidMask(file: string, message: string, cause?: unknown): SaladError {
  return new SaladError('TRAINING_DATA_INVALID', `the mask ${file} ${message}`, { cause });
}

async function decodeMask(file: string): Promise<DecodedImage> {
  if (!statSync(file).isFile()) throw invalidMask(file, 'is not a regular file');
  try {
    return await decodeImage(await readFile(file), { maxPixels: MASK_PIXELS_MAX, formats: 'PNG nor JPEG' });
  } catch (error) {
    throw invalidMask(file, `cannot be read: ${systemReason(error)}`, error);
  }
}

/** Finds masks beside the class folders: `masks/<class>/<file>` or `masks/<file>`, on the pixel grid of the image. */
export class LesionMasks {
  readonly #directory: string;

  constructor(dataDirectory: string) {
    this.#directory = join(dataDirectory, 'masks');
  }

  /**
   * The mask of an image; null where it has none, or an empty one.
   * @throws SaladError TRAINING_DATA_INVALID naming a mask that cannot be read or has another size than its image
   */
  async find(image: DatasetImage): Promise<LesionMask | null> {
    const relativePath = relative(dirname(this.#directory), image.path);
    const file = [join(this.#directory, relativePath), join(this.#directory, basename(image.path))].find(
      (path) => existsSync(path),
    );
    if (!file) return null;
    const { rows, columns, bitsAllocated, samples } = await decodeMask(file);
    if (rows !== image.rows || columns !== image.columns) {
      throw invalidMask(file, `has ${columns} x ${rows} pixels, its image ${image.columns} x ${image.rows}`);
    }
    const bytes = bitsAllocated / 8;
    const lesion = new Uint8Array(rows * columns);
    for (let i = 0; i < samples.length; i += 1) if (samples[i] !== 0) lesion[Math.floor(i / bytes)] = 1;
    return lesion.includes(1) ? { rows, columns, samples: lesion } : null;
  }
}

/** Fraction of a patch's source box that is lesion. */
function lesionFraction(mask: LesionMask, image: WorkingImage, geometry: Geometry, patch: number): number {
  const box = patchSourceBox(image, rowOf(patch, geometry.patchGrid), columnOf(patch, geometry.patchGrid));
  let lesion = 0;
  let area = 0;
  for (let row = Math.floor(box.top); row < Math.min(box.bottom, mask.rows); row += 1) {
    for (let column = Math.floor(box.left); column < Math.min(box.right, mask.columns); column += 1) {
      lesion += mask.samples[row * mask.columns + column]!;
      area += 1;
    }
  }
  return area === 0 ? 0 : lesion / area;
}

/** Samples the anomaly map and the mask at every MAP_STEP-th pixel of the working image, in both directions. */
function sampleMap(
  mask: LesionMask,
  image: WorkingImage,
  geometry: Geometry,
  field: PatchField,
): { readonly map: Float32Array; readonly lesion: Uint8Array; readonly size: number } {
  const size = Math.floor(geometry.workingSize / MAP_STEP);
  const map = new Float32Array(size * size);
  const lesion = new Uint8Array(size * size);
  for (let at = 0; at < map.length; at += 1) {
    const y = Math.floor(at / size) * MAP_STEP;
    const x = (at % size) * MAP_STEP;
    map[at] = field.at(y + 0.5, x + 0.5);
    const { top, left, bottom, right } = image.sourceBox(y, x, y + 1, x + 1);
    const row = Math.min(mask.rows - 1, Math.floor((top + bottom) / 2));
    const column = Math.min(mask.columns - 1, Math.floor((left + right) / 2));
    lesion[at] = mask.samples[row * mask.columns + column]!;
  }
  return { map, lesion, size };
}

/** Collects the patch scores of images with masks and computes the localisation figures. */
export class MaskLocalisation {
  readonly #geometry: Geometry;
  readonly #aggregate: AggregateSpec;
  /** Robust z of lesion patches. */
  readonly #lesion: number[] = [];
  /** Robust z of lesion-free patches. */
  readonly #clear: number[] = [];
  readonly #overlap = new PerRegionOverlap();
  #images = 0;
  #hits = 0;

  constructor(geometry: Geometry, aggregate: AggregateSpec) {
    this.#geometry = geometry;
    this.#aggregate = aggregate;
  }

  add(mask: LesionMask, image: WorkingImage, patchZ: Float32Array): void {
    const topPatch = rankedCells(patchZ, this.#geometry, this.#aggregate)[0];
    patchZ.forEach((z, patch) => {
      if (Number.isNaN(z)) return;
      const fraction = lesionFraction(mask, image, this.#geometry, patch);
      if (fraction >= LESION_FRACTION_MIN) this.#lesion.push(z);
      else if (fraction === 0) this.#clear.push(z);
      if (patch === topPatch && fraction > 0) this.#hits += 1;
    });
    const field = new PatchField(this.#geometry, patchZ, this.#aggregate.margin);
    const { map, lesion, size } = sampleMap(mask, image, this.#geometry, field);
    this.#overlap.add(map, lesion, size);
    this.#images += 1;
  }

  figures(): LocalisationFigures {
    const hasBothKinds = this.#lesion.length > 0 && this.#clear.length > 0;
    return {
      images: this.#images,
      patchAuroc: hasBothKinds ? auroc(this.#clear, this.#lesion) : null,
      aupro: this.#overlap.area(),
      pointingHit: this.#hits / this.#images,
    };
  }
}
