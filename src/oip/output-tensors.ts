/** The tensors of an answer: which of them a request wants, made from the results of its acquisitions. */
import type { AcquisitionEvent, Aggregate, PatchResult, ServedModel } from '../acquisition/index.js';
import { callerText, SaladError } from '../errors/index.js';
import { MAP_SIDE_MAX } from '../imaging/map/anomaly-map.js';
import { bytesTensor, type OutputTensor, tensorOf } from './encoded-tensor.js';
import { type Datatype, LABELS, SCORE } from './views.js';

/** Collects one output of all images of a request. */
export interface OutputColumn {
  patch?(image: number, patch: PatchResult, cell: number): void;
  aggregate?(image: number, aggregate: Aggregate): void;
  tensor(): OutputTensor;
}

type ColumnBuilder = (name: string, model: ServedModel, count: number) => OutputColumn;

/** Every output of whole images. Those that metadata do not list are given by name only. */
const COLUMNS: Readonly<Record<string, ColumnBuilder>> = {
  image_score: perImage(({ imageScore }) => imageScore),
  p_value: perImage(({ pValue }) => pValue),
  threshold: perImage(({ threshold }) => threshold),
  decision: bytesPerImage(({ decision }) => Buffer.from(decision.toUpperCase())),
  overlay_png: bytesPerImage(({ anomalyMap }) => anomalyMap?.data ?? new Uint8Array()),
  coverage,
  patch_scores: perPatch(1, (patch) => [patch.score]),
  patch_z: perPatch(1, (patch) => [patch.robustZ]),
  patch_p_values: perPatch(1, (patch) => [patch.pValue]),
  embeddings: perPatch(
    (model) => model.manifest.bank.dimension,
    (patch) => patch.embedding,
  ),
  nearest_index: perPatch(
    neighbours,
    ({ nearestPrototypes }) => nearestPrototypes.map(({ index }) => index),
    'INT32',
  ),
  nearest_distance: perPatch(neighbours, ({ nearestPrototypes }) =>
    nearestPrototypes.map(({ distance }) => distance),
  ),
  anomaly_map: anomalyMaps,
};
/** Most bytes of a map, as float32 or drawn: its size is not known before its file is decoded. */
const MAP_BYTES = 4 * MAP_SIDE_MAX ** 2;
const PATCH_COLUMNS = ['patch_scores', 'patch_z', 'patch_p_values'];

/** An output while it is made, and in the answer. */
export const OUTPUT_COPIES = 2;

/** What an acquisition has to answer for some outputs. */
export interface OutputNeeds {
  readonly patchScores: boolean;
  readonly embeddings: boolean;
  readonly nearest: boolean;
  readonly map: 'none' | 'float32' | 'pngOverlay';
  /** Most bytes of all outputs of one image. */
  readonly bytes: number;
}

export const IMAGE_OUTPUTS: readonly string[] = Object.keys(COLUMNS);

/** @throws SaladError TENSOR_INVALID where both forms of the map are requested: an acquisition draws one */
export function needsOf(names: readonly string[], model: ServedModel): OutputNeeds {
  const has = (name: string) => names.includes(name);
  if (has('anomaly_map') && has('overlay_png')) {
    throw SaladError.field('TENSOR_INVALID', 'outputs', 'anomaly_map and overlay_png need two requests');
  }
  const { dimension } = model.manifest.bank;
  const map = has('anomaly_map') ? 'float32' : has('overlay_png') ? 'pngOverlay' : 'none';
  const nearest = has('nearest_index') || has('nearest_distance');
  const embeddings = has('embeddings');
  const perPatch = (embeddings ? 4 * dimension : 0) + (nearest ? 8 * neighbours(model) : 0) + 16;
  return {
    patchScores: PATCH_COLUMNS.some(has) || embeddings || nearest,
    embeddings,
    nearest,
    map,
    bytes: model.geometry.patchGrid ** 2 * perPatch + (map === 'none' ? 0 : MAP_BYTES),
  };
}

/** Collects the outputs of the images of one request. */
export class ImageOutputs {
  private readonly columns: readonly OutputColumn[];

  constructor(
    names: readonly string[],
    private readonly model: ServedModel,
    count: number,
  ) {
    this.columns = names.map((name) => {
      const build = name === SCORE ? labelScores : COLUMNS[name];
      if (build === undefined) throw new SaladError('INTERNAL', `no output ${callerText(name)}`);
      return build(name, model, count);
    });
  }

  take(image: number, event: AcquisitionEvent): void {
    if (event.kind === 'aggregate') {
      for (const column of this.columns) column.aggregate?.(image, event.aggregate);
    } else if (event.kind === 'patches') {
      const { patchGrid } = this.model.geometry;
      for (const patch of event.patches) {
        const cell = patch.row * patchGrid + patch.column;
        for (const column of this.columns) column.patch?.(image, patch, cell);
      }
    }
  }

  tensors(): readonly OutputTensor[] {
    return this.columns.map((column) => column.tensor());
  }
}

function perImage(pick: (aggregate: Aggregate) => number): ColumnBuilder {
  return (name, _model, count) => {
    const values = new Float64Array(count).fill(Number.NaN);
    return {
      aggregate: (image, aggregate) => {
        values[image] = pick(aggregate);
      },
      tensor: () => tensorOf(name, 'FP64', [count, 1], values),
    };
  };
}

function bytesPerImage(pick: (aggregate: Aggregate) => Uint8Array): ColumnBuilder {
  return (name, _model, count) => {
    const values = Array.from({ length: count }, () => new Uint8Array());
    return {
      aggregate: (image, aggregate) => {
        values[image] = pick(aggregate) as Uint8Array<ArrayBuffer>;
      },
      tensor: () => bytesTensor(name, [count, 1], values),
    };
  };
}

/** Counts of patches: scored, skipped as background, failed, missing. */
function coverage(name: string, _model: ServedModel, count: number): OutputColumn {
  const values = new Int32Array(4 * count);
  return {
    aggregate: (image, { coverage: { scored, skipped, failed, missing } }) => {
      values.set([scored, skipped, failed, missing], 4 * image);
    },
    tensor: () => tensorOf(name, 'INT32', [count, 4], values),
  };
}

function neighbours({ manifest }: ServedModel): number {
  return manifest.scoring.neighbourCount;
}

const PATCH_ARRAYS = { FP32: Float32Array, INT32: Int32Array } as const;

/** @param width values of a patch. Where it was not scored: NaN, or -1 */
function perPatch(
  width: 1 | ((model: ServedModel) => number),
  pick: (patch: PatchResult) => readonly number[],
  datatype: keyof typeof PATCH_ARRAYS & Datatype = 'FP32',
): ColumnBuilder {
  return (name, model, count) => {
    const { patchGrid } = model.geometry;
    const length = width === 1 ? 1 : width(model);
    const cells = patchGrid ** 2;
    const values = new PATCH_ARRAYS[datatype](count * cells * length);
    values.fill(datatype === 'INT32' ? -1 : Number.NaN);
    return {
      patch: (image, patch, cell) => values.set(pick(patch), (image * cells + cell) * length),
      tensor: () =>
        tensorOf(name, datatype, [count, patchGrid, patchGrid, ...(width === 1 ? [] : [length])], values),
    };
  };
}

/** Robust z in the geometry of the images, whose maps must be of one size. */
function anomalyMaps(name: string, _model: ServedModel, count: number): OutputColumn {
  const maps: Aggregate['anomalyMap'][] = Array.from({ length: count });
  return {
    aggregate: (image, { anomalyMap }) => {
      maps[image] = anomalyMap;
    },
    tensor: () => {
      const { rows = 0, columns = 0 } = maps[0] ?? {};
      if (maps.some((map) => map?.rows !== rows || map.columns !== columns)) {
        const why = 'anomaly_map: the maps of these images differ in size; send them one by one';
        throw SaladError.field('TENSOR_INVALID', 'outputs', why);
      }
      const data = Buffer.concat(maps.map((map) => map!.data));
      return { name, datatype: 'FP32', shape: [count, rows, columns], data };
    },
  };
}

/**
 * `score` of the view `classify`: threshold and image score, so that the larger is the decision. An image without a
 * decision has NaN: neither label is its own.
 */
function labelScores(name: string, _model: ServedModel, count: number): OutputColumn {
  const values = new Float32Array(LABELS.length * count);
  return {
    aggregate: (image, { decision, threshold, imageScore }) => {
      const isDecided = decision !== 'indeterminate';
      values.set(isDecided ? [threshold, imageScore] : [Number.NaN, Number.NaN], LABELS.length * image);
    },
    tensor: () => tensorOf(name, 'FP32', [count, LABELS.length], values),
  };
}
