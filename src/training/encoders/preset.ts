/** Types of a training preset, which decides the input, the grids, the scoring and how the encoder is made. */
import type { Engine } from '../../engines/engine.js';
import type { Geometry } from '../../geometry/geometry.js';
import type { InputSpec, ScoringSpec, TilingSpec } from '../../geometry/specifications.js';
import type { WorkingImage } from '../../imaging/working-image/working-image.js';
import type { NetworkDescription, Weights } from '../../network/description.js';

/** An encoder: from a tile to one unit vector per patch. */
export interface EncoderNetwork {
  readonly network: NetworkDescription;
  readonly weights: Weights;
}

/** A normal image, rendered as a complete working image. */
export interface FitImage {
  readonly id: string;
  readonly patient: string;
  /** Of the table of patients, such as PA or AP; absent where it has no such column. */
  readonly view?: string;
  readonly image: WorkingImage;
}

/** One step of progress: an image of a stage, or a batch of a learned encoder. */
export interface TrainingProgress {
  readonly stage: string;
  /** Steps done of `total` in this stage. */
  readonly step: number;
  readonly total: number;
  readonly round?: number;
  readonly epoch?: number;
  readonly losses?: Readonly<Record<string, number>>;
  /** Learned presets: whether this report ends an epoch. Other presets: absent. */
  readonly epochEnded?: boolean;
}

/** What an encoder is fitted with. */
export interface FitContext {
  readonly images: readonly FitImage[];
  readonly geometry: Geometry;
  readonly input: InputSpec;
  readonly tiling: TilingSpec;
  readonly seed: number;
  /** Computes descriptors while the encoder is fitted. */
  readonly engine: Engine;
  /** Folder for the checkpoints of a learned preset; it exists only while training runs. */
  readonly checkpointDirectory: string;
  readonly resume: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: TrainingProgress) => void;
}

/** The choices of a user; the preset decides everything else. */
export interface PresetOptions {
  readonly workingSize?: number;
  /** Median of the shorter sides of the training images in pixels; a preset may choose its patches by it. */
  readonly imageSide?: number;
  /** Presets with log-Gabor filters: added to magnitudes before their logarithm; above 0. */
  readonly textureFloor?: number;
  /** Presets that align: false turns alignment off. */
  readonly align?: boolean;
  /** Preset `pretrained`: the encoder. */
  readonly encoder?: PretrainedEncoder;
  /** Preset `pretrained`: side of a patch in pixels, 8 or 64. */
  readonly patchSize?: number;
}

/** A pretrained network, and its entry in the model card (pretrained/encoder-file.ts). */
export interface PretrainedEncoder {
  /** Human-readable. */
  readonly name: string;
  /** Where the weights come from. */
  readonly source: string;
  /** SPDX identifier. */
  readonly licence: string;
  /** Copyright, and the changes to the weights. */
  readonly notice: string;
  readonly nodes: NetworkDescription['nodes'];
  /** Nodes whose feature maps describe patches. */
  readonly features: readonly string[];
  readonly weights: Weights;
}

export interface TrainingPlan {
  readonly input: InputSpec;
  readonly tiling: TilingSpec;
  readonly scoring: ScoringSpec;
  /** Whether working images are aligned to the mean of the fit images. Requires percentiles, so it cannot stream. */
  readonly align: boolean;
  /**
   * The normal images that calibrate. `heldOut`: images that do not fit. `crossFitted`: all images, each scored against
   * a bank without its patient; only for encoders that do not memorise training images.
   */
  readonly calibration: 'heldOut' | 'crossFitted';
  /** Default for the most rows of the memory bank. */
  readonly bankRows: number;
  /** Whether there are medians and spreads of two views, where the table of patients contains the views. */
  readonly usesViews?: boolean;
  /** Whether the bundle has a plausibility gate. Only where one tile covers the image. */
  readonly judgesPlausibility?: boolean;
  /** Sentences for the model card about what this kind of model cannot do. */
  readonly limits: readonly string[];
  /** Learns or builds the encoder from normal images. @throws SaladError CANCELLED when aborted. */
  readonly fitEncoder: (context: FitContext) => Promise<EncoderNetwork>;
}

export interface TrainingPreset {
  readonly name: string;
  readonly description: string;
  /** @throws SaladError CONFIGURATION_INVALID for a working size that does not fit the grids */
  readonly plan: (options: PresetOptions) => TrainingPlan;
}
