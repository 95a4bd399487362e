/** One pass of an evaluation over the images: scores, decisions, hits of boxes and masks, pictures for the report. */
import type { Bundle } from '../../bundle/bundle.js';
import { columnOf, rowOf } from '../../geometry/cells.js';
import { alignerOf } from '../../imaging/alignment/alignment.js';
import { patchSourceBox } from '../../imaging/map/patch-box.js';
import type { WorkingImage } from '../../imaging/working-image/working-image.js';
import { rankedCells } from '../../scoring/aggregate.js';
import {
  aggregateImage,
  imagePValue,
  medianAndMad,
  minFalsePositiveRate,
  thresholdFor,
} from '../../scoring/calibration.js';
import { DEFAULT_FALSE_POSITIVE_RATE } from '../../scoring/calibration-warnings.js';
import { smoothedScores } from '../../scoring/patch-z.js';
import { judgePlausibility } from '../../scoring/plausibility.js';
import { regionAround } from '../../scoring/region.js';
import type { Dataset, DatasetImage } from '../data/dataset.js';
import type { ImagePatches } from '../data/image-scorer.js';
import type { RenderedItem } from '../data/render.js';
import { measureBaselines } from './baselines.js';
import { type BoxHit, boxHit, type ImageBoxes } from './box-localisation.js';
import type { EvaluatedImage } from './figures.js';
import { LesionMasks, MaskLocalisation } from './localisation.js';
import { PictureCollector, type ReportPictures } from './report-pictures.js';

export interface PassOptions {
  readonly bundle: Bundle;
  readonly dataset: Dataset;
  /** Number of images that are returned with their maps: hits, misses and false alarms, a third each. @default 0 */
  readonly pictureCount?: number;
}

/** Collects the results of one pass over the images. */
export class EvaluationPass {
  readonly evaluated: EvaluatedImage[] = [];
  /** By class; only classes with masks. */
  readonly localisation = new Map<string, MaskLocalisation>();
  readonly notScored: DatasetImage[] = [];
  readonly #options: PassOptions;
  readonly #masks: LesionMasks;
  readonly #boxes: ImageBoxes;
  readonly #threshold: number;
  readonly #pictures: PictureCollector;

  constructor(options: PassOptions, boxes: ImageBoxes) {
    const { calibration } = options.bundle.manifest;
    this.#options = options;
    this.#masks = new LesionMasks(options.dataset.directory);
    this.#boxes = boxes;
    const rate = Math.max(DEFAULT_FALSE_POSITIVE_RATE, minFalsePositiveRate(calibration));
    this.#threshold = thresholdFor(calibration, rate);
    this.#pictures = new PictureCollector(options.bundle, options.pictureCount ?? 0, this.#threshold);
  }

  get pictures(): ReportPictures {
    return this.#pictures.pictures;
  }

  async addImage({ item, image, decoded }: RenderedItem<DatasetImage>, patches: ImagePatches): Promise<void> {
    const { geometry, manifest } = this.#options.bundle;
    const { calibration } = manifest;
    const { patchZ, score } = aggregateImage(smoothedScores(manifest, patches), manifest, geometry);
    if (Number.isNaN(score)) {
      this.notScored.push(item);
      return;
    }
    const topPatch = rankedCells(patchZ, geometry, manifest.scoring.aggregate)[0]!;
    const { patchGrid } = geometry;
    const topBox = patchSourceBox(image, rowOf(topPatch, patchGrid), columnOf(topPatch, patchGrid));
    const hit = this.#boxHit(item, image, patchZ, topPatch);
    const evaluated: EvaluatedImage = {
      id: item.id,
      label: item.label,
      patient: item.patient,
      score,
      pValue: imagePValue(calibration, score),
      decision: this.#isImplausible(image, patches)
        ? 'indeterminate'
        : score > this.#threshold
          ? 'anomalous'
          : 'normal',
      localScore: score - medianAndMad(patchZ.filter((z) => !Number.isNaN(z))).median,
      topBox,
      floors: measureBaselines(decoded, item.bytes),
      ...(hit ? { boxHit: hit } : {}),
    };
    this.evaluated.push(evaluated);
    const boxes = this.#boxes.find(item) ?? [];
    await this.#pictures.add({ image: evaluated, decoded, working: image, patchZ, topPatch, boxes });
    await this.#addLocalisation(item, image, patchZ);
  }

  #isImplausible(image: WorkingImage, { embeddings }: ImagePatches): boolean {
    const { plausibility, geometry } = this.#options.bundle;
    if (plausibility === undefined) return false;
    const { reference } = plausibility.spec;
    const isNegative =
      reference !== undefined && alignerOf(reference).isNegative(image.pixels, geometry.workingSize);
    return isNegative || judgePlausibility(plausibility, embeddings, geometry.patchGrid) !== undefined;
  }

  async #addLocalisation(item: DatasetImage, image: WorkingImage, patchZ: Float32Array): Promise<void> {
    const mask = await this.#masks.find(item);
    if (!mask) return;
    const { geometry, manifest } = this.#options.bundle;
    const localisation =
      this.localisation.get(item.label) ?? new MaskLocalisation(geometry, manifest.scoring.aggregate);
    this.localisation.set(item.label, localisation);
    localisation.add(mask, image, patchZ);
  }

  #boxHit(
    item: DatasetImage,
    image: WorkingImage,
    patchZ: Float32Array,
    topPatch: number,
  ): BoxHit | undefined {
    const boxes = this.#boxes.find(item);
    if (boxes === undefined) return undefined;
    const { patchGrid } = this.#options.bundle.geometry;
    const { top, bottom, left, right } = regionAround(patchZ, patchGrid, topPatch);
    const topBox = patchSourceBox(image, rowOf(topPatch, patchGrid), columnOf(topPatch, patchGrid));
    const corners = [patchSourceBox(image, top, left), patchSourceBox(image, bottom, right)] as const;
    const region = {
      top: Math.min(corners[0].top, corners[1].top),
      left: Math.min(corners[0].left, corners[1].left),
      bottom: Math.max(corners[0].bottom, corners[1].bottom),
      right: Math.max(corners[0].right, corners[1].right),
    };
    return boxHit(topBox, region, boxes, item);
  }
}
