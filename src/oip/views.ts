/** The three models under which the protocol offers each bundle, and their tensors. */
import type { ServedModel } from '../acquisition/index.js';
import { callerText, SaladError } from '../errors/index.js';

/** `image`: whole images of any size. `tiles`: rectangles of the working image. `classify`: images of a fixed size. */
export type View = 'image' | 'tiles' | 'classify';

export interface ModelView {
  /** The bundle's name with the suffix of the view. */
  readonly name: string;
  readonly view: View;
  readonly model: ServedModel;
}

/** The served models; implemented by the registry. */
export interface ModelSource {
  list(): readonly ServedModel[];
  /** Keeps a model loaded until its release: a request ends on the version it began with. */
  acquire(name: string, version: number): { release(): void };
}

/** Names of bundles have no dot. */
const SUFFIXES: Readonly<Record<View, string>> = { image: '', tiles: '.tiles', classify: '.classify' };
const VIEWS = Object.keys(SUFFIXES) as View[];

/** Every model in every version, in the order of the registry. */
export function allViews(models: Pick<ModelSource, 'list'>): readonly ModelView[] {
  return models.list().flatMap((model) => VIEWS.map((view) => viewOf(model, view)));
}

/** Whether a name is that of a view that is not the bundle itself. */
export function isOtherView(name: string): boolean {
  return VIEWS.some((view) => SUFFIXES[view] !== '' && name.endsWith(SUFFIXES[view]));
}

export function viewOf(model: ServedModel, view: View): ModelView {
  return { name: model.name + SUFFIXES[view], view, model };
}

/**
 * The texts are those of Triton, which tools look for.
 * @param version empty: the highest
 * @throws SaladError MODEL_NOT_FOUND, PARAMETER_INVALID for a version that is no number
 */
export function findView(models: Pick<ModelSource, 'list'>, name: string, version: string): ModelView {
  if (version !== '' && !/^\d{1,9}$/.test(version)) {
    const why = `failed to get model version from specified version string '${callerText(version)}': must be a number`;
    throw SaladError.field('PARAMETER_INVALID', 'model_version', why);
  }
  const versions = allViews(models).filter((each) => each.name === name);
  if (versions.length === 0) {
    throw new SaladError('MODEL_NOT_FOUND', `Request for unknown model: '${callerText(name)}' is not found`);
  }
  const found =
    version === '' ? versions.at(-1) : versions.find(({ model }) => model.version === Number(version));
  if (found !== undefined) return found;
  const why = `Request for unknown model: '${callerText(name)}' version ${version} is not found`;
  throw new SaladError('MODEL_NOT_FOUND', why);
}

/** Types of tensors that this server takes or gives. */
export type Datatype = 'UINT8' | 'UINT16' | 'INT16' | 'INT32' | 'FP32' | 'FP64' | 'BYTES';

export interface TensorSpec {
  readonly name: string;
  readonly datatype: Datatype;
  /** Without the batch; -1 is any size. */
  readonly dims: readonly number[];
}

/** Labels of the two scores of the view `classify`, in order. */
export const LABELS = ['normal', 'anomalous'] as const;
export const SCORE = 'score';

/** Most images, or tiles, of one request. */
export function maxBatchSize(view: View): number {
  return view === 'tiles' ? 1024 : 64;
}

/** As metadata show them; `image` takes other types and shapes, too: see `image-inputs.ts`. */
export function inputsOf({ view, model }: ModelView): readonly TensorSpec[] {
  const { tileHeight, tileWidth, workingSize } = model.geometry;
  switch (view) {
    case 'image':
      return [{ name: 'image', datatype: 'UINT8', dims: [-1, -1, 1] }];
    case 'tiles':
      return [
        { name: 'tile', datatype: 'UINT8', dims: [tileHeight, tileWidth, 1] },
        { name: 'position', datatype: 'INT32', dims: [2] },
      ];
    case 'classify':
      return [{ name: 'image', datatype: 'UINT8', dims: [workingSize, workingSize, 1] }];
  }
}

/** What a request that names no outputs gets. */
export function outputsOf({ view, model }: ModelView): readonly TensorSpec[] {
  const { patchGrid, patchesPerTile } = model.geometry;
  switch (view) {
    case 'image':
      return [
        { name: 'image_score', datatype: 'FP64', dims: [1] },
        { name: 'p_value', datatype: 'FP64', dims: [1] },
        { name: 'decision', datatype: 'BYTES', dims: [1] },
        { name: 'patch_scores', datatype: 'FP32', dims: [patchGrid, patchGrid] },
      ];
    case 'tiles':
      return [{ name: 'patch_scores', datatype: 'FP32', dims: [patchesPerTile] }];
    case 'classify':
      return [{ name: SCORE, datatype: 'FP32', dims: [2] }];
  }
}
