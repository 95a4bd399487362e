/** SALAD's learned encoders as presets: tiles of the fit images go to the trainer, its encoder comes back. */
import type { EngineName } from '../../../engines/engine.js';
import { prepareTrainingBackend, type TrainingBackendName } from '../../backend/prepare.js';
import { fitWhitening } from '../fit-whitening.js';
import type {
  EncoderNetwork,
  FitContext,
  TrainingPlan,
  TrainingPreset,
  TrainingProgress,
} from '../preset.js';
import type { SaladConfig } from './config.js';
import {
  SALAD_PRESET_NAMES,
  type SaladPreset,
  saladPreset,
  withFreeEmbeddingName,
} from './named-configurations.js';
import type { SaladProgress } from './progress.js';
import type { TileSource } from './tiles.js';
import { type TrainedEncoder, trainSaladEncoder } from './trainer.js';

/** Every tile of the fit images that is not background, cut when asked for. Tiles are square. */
export function createTileSource(context: Pick<FitContext, 'images' | 'geometry'>): TileSource {
  const { images, geometry } = context;
  const { tileColumns, tileCount, tileHeight, tilePixels, coreSize } = geometry;
  const patients = [...new Set(images.map((image) => image.patient))];
  const patientIndex = new Map(patients.map((patient, index) => [patient, index]));
  const imageOf: number[] = [];
  const patientOf: number[] = [];
  const cellOf: number[] = [];
  images.forEach(({ image, patient }, index) => {
    for (let cell = 0; cell < tileCount; cell += 1) {
      if (image.isBackground(Math.floor(cell / tileColumns), cell % tileColumns)) continue;
      imageOf.push(index);
      patientOf.push(patientIndex.get(patient)!);
      cellOf.push(cell);
    }
  });
  return {
    count: imageOf.length,
    size: tileHeight,
    imageOf,
    patientOf,
    cellOf,
    gridSide: tileColumns,
    overlapCells: Math.ceil(tileHeight / coreSize),
    get(indices) {
      const out = new Uint8Array(indices.length * tilePixels);
      indices.forEach((tile, at) => {
        const target = out.subarray(at * tilePixels, (at + 1) * tilePixels);
        const cell = cellOf[tile]!;
        const { image } = images[imageOf[tile]!]!;
        image.cutTile(Math.floor(cell / tileColumns), cell % tileColumns, target);
      });
      return out;
    },
  };
}

/** Ends of epochs are told apart, so that a log holds one line each. */
function trainingProgress(progress: SaladProgress): TrainingProgress {
  const { losses } = progress;
  return {
    stage: progress.phase === 'warmup' ? 'warm-up' : 'rounds',
    step: progress.epoch * progress.steps + progress.step,
    total: progress.epochs * progress.steps,
    round: progress.round,
    epoch: progress.epoch,
    losses: {
      loss: losses.loss,
      contrast: losses.contrast,
      ...(losses.reconstruction === null ? {} : { reconstruction: losses.reconstruction }),
    },
    epochEnded: progress.finished !== undefined,
  };
}

/** The engine's own backend; the native CPU engine has none, and takes the best that gives the same bytes anywhere. */
function backendOf(engine: EngineName): TrainingBackendName | 'auto' {
  return engine === 'onnx' || engine === 'openvino' ? 'auto' : engine;
}

/** Trains on the tiles with the engine's backend; checkpoints and progress as the context says. */
export async function trainOnTiles(
  config: SaladConfig,
  tiles: TileSource,
  context: FitContext,
): Promise<TrainedEncoder> {
  const { release } = await prepareTrainingBackend(backendOf(context.engine.info.name));
  try {
    return await trainSaladEncoder({
      tiles,
      config,
      seed: context.seed,
      checkpointDir: context.checkpointDirectory,
      resume: context.resume,
      signal: context.signal,
      onProgress: (progress) => context.onProgress(trainingProgress(progress)),
    });
  } finally {
    release?.();
  }
}

async function fitLearned(preset: SaladPreset, context: FitContext): Promise<EncoderNetwork> {
  const { network, weights } = await trainOnTiles(preset.config, createTileSource(context), context);
  if (!preset.whiten) return { network, weights };
  const renamed = withFreeEmbeddingName(network);
  return fitWhitening({ network: renamed, weights, dimension: preset.config.embedding }, context);
}

/** The plan of a SALAD configuration, a preset's own or one that varies it. */
export function learnedPlan(preset: SaladPreset): TrainingPlan {
  const { input, tiling, scoring } = preset;
  return {
    input,
    tiling,
    scoring,
    align: false,
    calibration: 'heldOut',
    bankRows: 16_384,
    limits: [
      preset.description,
      "Intensity follows the header's window: a badly chosen window raises every score.",
    ],
    fitEncoder: (context) => fitLearned(preset, context),
  };
}

export const LEARNED_PRESETS: readonly TrainingPreset[] = SALAD_PRESET_NAMES.map((name) => ({
  name,
  description: saladPreset(name).description,
  plan: ({ workingSize }) => learnedPlan(saladPreset(name, workingSize)),
}));
