/** Chooses the images that the report shows with their maps, and draws them. */
import type { Bundle } from '../../bundle/bundle.js';
import type { Point } from '../../geometry/affine.js';
import { columnOf, rowOf } from '../../geometry/cells.js';
import type { Box } from '../../geometry/placement.js';
import type { DecodedImage } from '../../imaging/decode/decode.js';
import { anomalyMapSteps, type MapShape, mapShapeOf, PatchField } from '../../imaging/map/anomaly-map.js';
import { type ColourStop, colourScaleOf, colourStops } from '../../imaging/map/colour-scale.js';
import { type PictureLayers, pictureLayers } from '../../imaging/map/map-drawing.js';
import { patchSourceCorners } from '../../imaging/map/patch-box.js';
import { pictureOf } from '../../imaging/map/picture.js';
import type { WorkingImage } from '../../imaging/working-image/working-image.js';
import { patchPValue } from '../../scoring/calibration.js';
import { inTurns } from '../../util/turns.js';
import { NORMAL } from '../data/dataset.js';
import type { EvaluatedImage } from './figures.js';

/** Abnormal images that were flagged or missed, and normal ones that were flagged. */
export type SheetName = 'hits' | 'misses' | 'falseAlarms';

/** An image with its picture. Points and boxes in pixels of the source image. */
export interface PicturedImage {
  readonly image: EvaluatedImage;
  readonly source: MapShape;
  readonly layers: PictureLayers;
  readonly stops: readonly ColourStop[];
  readonly topPatch: readonly Point[];
  readonly countingArea: readonly Point[];
  /** What radiologists marked. */
  readonly boxes: readonly Box[];
}

/** Hits and false alarms: highest score first; misses: lowest first. */
export type ReportPictures = Readonly<Record<SheetName, readonly PicturedImage[]>>;

/** What of an image is needed to draw it. */
export interface PictureInput {
  readonly image: EvaluatedImage;
  readonly decoded: DecodedImage;
  readonly working: WorkingImage;
  /** Robust z [patchGrid, patchGrid], NaN where not scored. */
  readonly patchZ: Float32Array;
  /** Patch of the highest robust z: row * patchGrid + column. */
  readonly topPatch: number;
  readonly boxes: readonly Box[];
}

function sheetOf({ label, decision }: EvaluatedImage): SheetName | undefined {
  if (label === NORMAL) return decision === 'anomalous' ? 'falseAlarms' : undefined;
  return decision === 'anomalous' ? 'hits' : 'misses';
}

/** Keeps pictures of the most informative images of a pass: a third of `limit` for each kind. */
export class PictureCollector {
  readonly #bundle: Bundle;
  readonly #threshold: number;
  readonly #limits: Readonly<Record<SheetName, number>>;
  readonly #sheets: Readonly<Record<SheetName, PicturedImage[]>> = { hits: [], misses: [], falseAlarms: [] };

  /**
   * @param limit number of images in all
   * @param threshold of the image score: where the colours begin
   */
  constructor(bundle: Bundle, limit: number, threshold: number) {
    this.#bundle = bundle;
    this.#threshold = threshold;
    this.#limits = {
      hits: Math.ceil(limit / 3),
      misses: Math.ceil((limit - 1) / 3),
      falseAlarms: Math.floor(limit / 3),
    };
  }

  get pictures(): ReportPictures {
    return this.#sheets;
  }

  /** Draws the image if it is among the most informative ones so far. */
  async add(input: PictureInput): Promise<void> {
    const name = sheetOf(input.image);
    if (name === undefined) return;
    const sheet = this.#sheets[name];
    const limit = this.#limits[name];
    const rank = ({ score }: EvaluatedImage): number => (name === 'misses' ? -score : score);
    const last = sheet.at(-1);
    if (limit === 0 || (sheet.length >= limit && !(rank(input.image) > rank(last!.image)))) return;
    sheet.push(await this.#draw(input));
    sheet.sort((a, b) => rank(b.image) - rank(a.image));
    if (sheet.length > limit) sheet.pop();
  }

  async #draw({ image, decoded, working, patchZ, topPatch, boxes }: PictureInput): Promise<PicturedImage> {
    const { geometry, manifest } = this.#bundle;
    const source = { rows: decoded.rows, columns: decoded.columns };
    const shape = mapShapeOf(source.rows, source.columns);
    const field = new PatchField(geometry, patchZ, manifest.scoring.aggregate.margin);
    const map = await inTurns(anomalyMapSteps(field, working.workingToSource, shape, source));
    const scale = colourScaleOf(this.#threshold, map);
    const grey = pictureOf(decoded.samples, working.format, shape);
    return {
      image,
      source,
      layers: await pictureLayers({ shape, grey, map, scale }),
      stops: colourStops(scale, (z) => patchPValue(manifest.calibration, z)),
      topPatch: patchSourceCorners(
        working,
        rowOf(topPatch, geometry.patchGrid),
        columnOf(topPatch, geometry.patchGrid),
      ),
      countingArea: working.sourceCorners(field.countingBox),
      boxes,
    };
  }
}
