/** The presets with a learned SALAD encoder: trains it on the tiles of the fit images. */
import type { EngineName } from '../../../engines/engine.js';
import { allTiles, type TileIndex } from '../../../geometry/tile-index.js';
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
  freeEmbeddingName,
  SALAD_PRESET_NAMES,
  type SaladPreset,
  saladPreset,
} from './named-configurations.js';
import type { SaladProgress } from './progress.js';
import type { TileSource } from './tiles.js';
import { type TrainedEncoder, trainSaladEncoder } from './trainer.js';

/** Gives access to the tiles of the fit images that are not background; pixels are cut on request. Tiles are square. */
function createTileSource({ images, geometry }: FitContext): TileSource {
  const { tileColumns, tileHeight, tilePixels, coreSize } = geometry;
  const patients = [...new Set(images.map((image) => image.patient))];
  const patientIndex = new Map(patients.map((patient, index) => [patient, index]));
  const imageOf: number[] = [];
  const patientOf: number[] = [];
  const cellOf: TileIndex[] = [];
  images.forEach(({ image, patient }, index) => {
    for (const cell of allTiles(geometry)) {
      if (image.isBackground(cell)) continue;
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
    readTiles(indices) {
      const out = new Uint8Array(indices.length * tilePixels);
      indices.forEach((tile, at) => {
        const target = out.subarray(at * tilePixels, (at + 1) * tilePixels);
        images[imageOf[tile]!]!.image.cutTile(cellOf[tile]!, target);
      });
      return out;
    },
  };
}

/** Converts a progress report. Marks the ends of epochs, so that a log can have one line per epoch. */
function trainingProgressOf(progress: SaladProgress): TrainingProgress {
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

/** The training backend of an engine. onnx and openvino cannot train; for them it is `auto`. */
function backendOf(engine: EngineName): TrainingBackendName | 'auto' {
  return engine === 'onnx' || engine === 'openvino' ? 'auto' : engine;
}

/** Trains on the tiles, on the engine's backend, with the context's checkpoints and progress reports. */
async function trainOnTiles(
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
      checkpointDirectory: context.checkpointDirectory,
      resume: context.resume,
      signal: context.signal,
      onProgress: (progress) => context.onProgress(trainingProgressOf(progress)),
    });
  } finally {
    release?.();
  }
}

async function fitLearnedEncoder(preset: SaladPreset, context: FitContext): Promise<EncoderNetwork> {
  const { network, weights } = await trainOnTiles(preset.config, createTileSource(context), context);
  if (!preset.whiten) return { network, weights };
  const dimension = preset.config.embedding;
  return fitWhitening({ network: freeEmbeddingName(network), weights, dimension }, context);
}

/** Makes the plan of a SALAD preset, or of one with a varied configuration. */
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
    fitEncoder: (context) => fitLearnedEncoder(preset, context),
  };
}

export const LEARNED_PRESETS: readonly TrainingPreset[] = SALAD_PRESET_NAMES.map((name) => ({
  name,
  description: saladPreset(name).description,
  plan: ({ workingSize }) => learnedPlan(saladPreset(name, workingSize)),
}));
