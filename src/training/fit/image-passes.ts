/** Passes over the training images: what the memory bank, the views and the plausibility gate are fitted on. */
import type { Engine, EngineModelSource } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';
import type { WorkingImage } from '../../imaging/working-image/working-image.js';
import { meanEmbedding } from '../../scoring/patch-z.js';
import { regionMeans } from '../../scoring/plausibility.js';
import { chooseIndices } from '../../util/hash-random.js';
import { createRandom } from '../../util/random.js';
import { type ImagePatches, ImageScorer } from '../data/image-scorer.js';
import type { FitImage, TrainingProgress } from '../encoders/preset.js';
import { BankCandidates } from './bank-builder.js';
import { type GateData, MIRRORED_IMAGES_MAX } from './plausibility-fit.js';

export interface PassOptions {
  readonly engine: Engine;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: TrainingProgress) => void;
}

/** Runs all images through one model, in order. @throws SaladError CANCELLED when aborted */
export async function runImages(
  options: PassOptions,
  source: EngineModelSource,
  images: readonly FitImage[],
  stage: string,
  onPatches: (patches: ImagePatches, index: number) => void,
): Promise<void> {
  const scorer = await ImageScorer.open(options.engine, source);
  try {
    for (const [index, { image }] of images.entries()) {
      if (options.signal.aborted) throw new SaladError('CANCELLED', 'training was interrupted');
      onPatches(await scorer.run(image), index);
      options.onProgress({ stage, step: index + 1, total: images.length });
    }
  } finally {
    await scorer.dispose();
  }
}

export interface EmbeddedImages {
  readonly candidates: BankCandidates;
  /** Mean embedding of every image, float64 [D]. */
  readonly means: readonly Float64Array[];
  /** Region means of every image; empty where none were requested. */
  readonly regions: readonly Float64Array[];
}

/**
 * Embeds the patches of all fit images.
 * @param regions regions per side whose means are kept; 0: none
 * @throws SaladError TRAINING_DATA_INVALID where every tile is background; CANCELLED when aborted
 */
export async function embedImages(
  options: PassOptions,
  source: EngineModelSource,
  images: readonly FitImage[],
  regions: number,
): Promise<EmbeddedImages> {
  const { patchGrid } = source.geometry;
  let candidates: BankCandidates | undefined;
  const means: Float64Array[] = [];
  const features: Float64Array[] = [];
  await runImages(options, source, images, 'embedding fit images', ({ embeddings, scored }, index) => {
    candidates ??= new BankCandidates(embeddings.length / scored.length, patchGrid);
    candidates.add(embeddings, scored, index);
    means.push(meanEmbedding(embeddings, scored.length));
    if (regions > 0) features.push(regionMeans(embeddings, patchGrid, regions));
  });
  if (!candidates || candidates.count === 0) {
    throw new SaladError(
      'TRAINING_DATA_INVALID',
      'no patch for the memory bank: every tile of the fit images is background',
    );
  }
  return { candidates, means, regions: features };
}

/** Reverses every row. */
function mirrorInPlace({ pixels, geometry }: WorkingImage): void {
  const { workingSize } = geometry;
  for (let from = 0; from < pixels.length; from += workingSize) {
    pixels.subarray(from, from + workingSize).reverse();
  }
}

/**
 * Region means of the mirrored copies of some images.
 * @param source its one tile covers the image
 */
export async function embedMirrored(
  options: PassOptions & { readonly seed: number },
  source: EngineModelSource,
  images: readonly FitImage[],
  regions: number,
): Promise<GateData['mirrored']> {
  const chosen = [...chooseIndices(images.length, MIRRORED_IMAGES_MAX, createRandom(options.seed))];
  const mirrored: { index: number; features: Float64Array }[] = [];
  for (const index of chosen) mirrorInPlace(images[index]!.image);
  try {
    const copies = chosen.map((index) => images[index]!);
    await runImages(options, source, copies, 'embedding mirrored images', ({ embeddings }, at) => {
      const features = regionMeans(embeddings, source.geometry.patchGrid, regions);
      mirrored.push({ index: chosen[at]!, features });
    });
  } finally {
    for (const index of chosen) mirrorInPlace(images[index]!.image);
  }
  return mirrored;
}
