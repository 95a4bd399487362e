/** Writes bundles with initial weights, fitted on phantoms: the cost of an image does not depend on the weights. */
import { join } from 'node:path';
import { createEngine } from '../../src/engines/selection/select.js';
import type { NetworkDescription } from '../../src/network/description.js';
import { initialiseWeights } from '../../src/network/initialise.js';
import { loadDataset } from '../../src/training/data/dataset.js';
import type { TrainingPlan } from '../../src/training/encoders/preset.js';
import { saladPreset } from '../../src/training/encoders/salad/named-configurations.js';
import { learnedPlan } from '../../src/training/encoders/salad/salad-presets.js';
import { encoderOf } from '../../src/training/encoders/salad/trainable-network.js';
import { versionDirectory } from '../../src/training/fit/output-folder.js';
import { findPreset } from '../../src/training/fit/preset-registry.js';
import { DEFAULT_THRESHOLDS } from '../../src/training/fit/strata.js';
import { trainBundle } from '../../src/training/fit/train.js';
import { salad64Network } from './model-sources.js';
import { writePhantoms } from './phantoms.js';

/**
 * `paper`: 256 x 256 pixels, six halvings, 200 dimensions; one patch per image, 21 million weights. `salad64`: the
 * larger tile encoder of suite `engines` with the tiles of preset `salad`, up to 64 per image.
 */
export const UNTRAINED_NAMES = ['salad64', 'paper'] as const;
export type UntrainedName = (typeof UNTRAINED_NAMES)[number];

interface Untrained {
  readonly preset: 'paper' | 'salad';
  readonly network: NetworkDescription;
  readonly plan: TrainingPlan;
  /** Number of images for the bank: few, because the search is not measured here. */
  readonly images: number;
}

/** @returns the folder of the bundle, `models/NAME/1` in `folder` */
export async function writeUntrainedBundle(folder: string, name: UntrainedName): Promise<string> {
  const { preset, network, plan, images } = untrained(name);
  const data = join(folder, `phantoms-${name}`);
  writePhantoms(data, '--count', String(images), '--seed', '1');
  const bundleDirectory = versionDirectory(join(folder, 'models'), name, 1);
  const engine = await createEngine('onnx');
  try {
    await trainBundle({
      dataset: await loadDataset(data, { purpose: 'train' }),
      bundleDirectory,
      name,
      version: 1,
      description: 'Not trained: for measuring.',
      notes: [],
      preset: findPreset(preset),
      plan: {
        ...plan,
        fitEncoder: () => Promise.resolve({ network, weights: initialiseWeights(network, 1) }),
      },
      seed: 1,
      engine,
      validation: null,
      resume: false,
      force: false,
      onWarning: () => undefined,
      bankRows: 10_000,
      coreset: 'random',
      outlierFraction: 0,
      thresholds: DEFAULT_THRESHOLDS,
      command: 'bench',
      saladServe: 'bench',
      signal: new AbortController().signal,
      onProgress: () => undefined,
    });
  } finally {
    await engine.dispose();
  }
  return bundleDirectory;
}

function untrained(name: UntrainedName): Untrained {
  if (name === 'salad64') {
    return {
      preset: 'salad',
      network: salad64Network(),
      plan: learnedPlan(saladPreset('salad')),
      images: 60,
    };
  }
  const preset = saladPreset('paper');
  const plan = learnedPlan(preset);
  return {
    preset: 'paper',
    network: encoderOf(preset.config, preset.input.workingSize),
    // The bank has fewer prototypes than the 100 neighbours of the paper.
    plan: { ...plan, scoring: { ...plan.scoring, neighbourCount: 5 } },
    images: 20,
  };
}
