/** What a training preset decides: input, grids, scoring, and how the encoder comes about. */

import type { Engine } from '../../engines/engine.js';
import type { Geometry } from '../../geometry/geometry.js';
import type { InputSpec, ScoringSpec, TilingSpec } from '../../geometry/specifications.js';
import type { WorkingImage } from '../../imaging/working-image.js';
import type { NetworkDescription, Weights } from '../../network/description.js';

export interface Encoder {
  readonly network: NetworkDescription;
  readonly weights: Weights;
}

/** A complete working image of a normal fit image. */
export interface FitImage {
  readonly id: string;
  readonly patient: string;
  readonly image: WorkingImage;
}

/** One step of progress: a whole stage of the pipeline, or an epoch within a learned encoder. */
export interface TrainingProgress {
  readonly stage: string;
  /** Steps done of `total` in this stage. */
  readonly step: number;
  readonly total: number;
  readonly round?: number;
  readonly epoch?: number;
  readonly losses?: Readonly<Record<string, number>>;
  /** Learned presets: this report ends an epoch. Others: absent. */
  readonly epochEnded?: boolean;
}

export interface FitContext {
  readonly images: readonly FitImage[];
  readonly geometry: Geometry;
  readonly input: InputSpec;
  readonly tiling: TilingSpec;
  readonly seed: number;
  /** For embeddings on the way. */
  readonly engine: Engine;
  /** Where a learned preset keeps checkpoints; written only while training runs. */
  readonly checkpointDirectory: string;
  readonly resume: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: TrainingProgress) => void;
}

/** Choices a user may make; everything else is the preset's. */
export interface PresetOptions {
  readonly workingSize?: number;
  /** Shorter side of a typical training image in pixels: what a preset may choose its working size by. */
  readonly imageSide?: number;
  /** Of presets with log-Gabor filters: added to magnitudes before their logarithm, above 0. */
  readonly textureFloor?: number;
  /** false: a preset that aligns takes images as they lie. */
  readonly align?: boolean;
}

export interface TrainingPlan {
  readonly input: InputSpec;
  readonly tiling: TilingSpec;
  readonly scoring: ScoringSpec;
  /** Working images are aligned to the mean of the fit images; needs percentiles, so nothing that streams. */
  readonly align: boolean;
  /**
   * Which normals calibrate: some that are held out, or (where the encoder does not learn images by heart) all of
   * them, each scored without its patient in the bank.
   */
  readonly calibration: 'heldOut' | 'crossFitted';
  /** Default number of memory-bank rows. */
  readonly bankRows: number;
  /** Sentences for the model card: what this kind of model cannot do. */
  readonly limits: readonly string[];
  /** Learns or builds the encoder from normal fit images. @throws SaladError CANCELLED when aborted. */
  readonly fitEncoder: (context: FitContext) => Promise<Encoder>;
}

export interface TrainingPreset {
  readonly name: string;
  readonly description: string;
  /** @throws SaladError CONFIGURATION_INVALID for a working size the grids do not fit. */
  readonly plan: (options: PresetOptions) => TrainingPlan;
}
