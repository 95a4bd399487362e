/** Input and output of an acquisition, independent of the wire format. */
import type { Batcher, PriorityClass } from '../batching/index.js';
import type { Manifest } from '../bundle/manifest.js';
import type { EngineName, PatchBatch, Precision } from '../engines/engine.js';
import type { AffineTransform, Point } from '../geometry/affine.js';
import type { Geometry } from '../geometry/geometry.js';
import type { Box, Placement } from '../geometry/placement.js';
import type { TilePosition } from '../geometry/tile-index.js';
import type { MapShape } from '../imaging/map/anomaly-map.js';
import type { ColourStop } from '../imaging/map/colour-scale.js';
import type { PixelFormat } from '../imaging/pixel-format/pixel-format.js';

import type { PlausibilityGate } from '../scoring/plausibility.js';
import type { AcquisitionBudget } from './budget.js';

/** Memory into which tiles are copied and from which scores are read; implemented by the slots of the pool. */
export interface TileSlot {
  view(model: string): {
    readonly pixels: Uint8Array;
    readonly positions: Int32Array;
    /** float64 [tiles, ALIGNMENT_NUMBERS]: the alignment of each tile; empty where workers do not align tiles. */
    readonly alignments: Float64Array;
    readonly patches: PatchBatch;
  };
}

/** A loaded model with its batcher and memory budget. */
export interface ServedModel {
  /** `name@version`, unique in the server. */
  readonly key: string;
  readonly name: string;
  readonly version: number;
  /** SHA-256 of the bundle's manifest. */
  readonly sha256: string;
  readonly manifest: Manifest;
  readonly geometry: Geometry;
  /** Absent where the model accepts every image. */
  readonly plausibility?: PlausibilityGate | undefined;
  /** int32 [bank rows]: index into manifest.training.sourceImages. */
  readonly prototypeSources: Int32Array;
  /** The engine that serves now; it changes with each fail-over and failback. */
  readonly engine: EngineName;
  /** How the memory bank is searched, human-readable. */
  readonly search: string;
  readonly batcher: Batcher<TileSlot>;
  readonly budget: AcquisitionBudget;
}

export interface AcquisitionRequest {
  /** Whose limits count it: an identity or an address. */
  readonly peer: string;
  readonly acquisitionId: string;
  readonly format: PixelFormat;
  readonly source: 'rows' | 'tiles';
  readonly priority: PriorityClass;
  readonly options: AcquisitionOptions;
  /** Milliseconds of the batcher's clock; Infinity without one. */
  readonly deadline: number;
  /** Identifies the acquisition in the batcher's reports of its batches. */
  readonly tag?: object | undefined;
}

export interface AcquisitionOptions {
  readonly patchScores: boolean;
  readonly anomalyMap: 'none' | 'pngOverlay' | 'float32';
  readonly embeddings: boolean;
  /** 0 to the model's K. */
  readonly nearestPrototypes: number;
  /** In (0, 1). */
  readonly maxFalsePositiveRate: number;
  readonly earlyEnd: 'fail' | 'partial';
  /** 0 to 100. */
  readonly topPatches: number;
}

/** A message with pixels. If the messages stop without `end`, the acquisition ended early. */
export type PixelMessage =
  | { readonly kind: 'rows'; readonly firstRow: number; readonly samples: Uint8Array }
  | {
      readonly kind: 'tiles';
      readonly tiles: readonly (TilePosition & { readonly samples: Uint8Array })[];
    }
  | { readonly kind: 'end'; readonly crc32c: number | undefined };

export interface ScoredPatch {
  /** Row and column in the patch grid. */
  readonly row: number;
  readonly column: number;
  readonly score: number;
  readonly robustZ: number;
  readonly pValue: number;
}

/** Result of one patch. It has the fields of the wire's PatchScore, so that it is encoded without another object. */
export interface PatchResult extends ScoredPatch {
  /** Empty where not requested, as `nearestPrototypes`; never changed. */
  readonly embedding: number[];
  readonly nearestPrototypes: NearestPrototype[];
}

export interface NearestPrototype {
  readonly index: number;
  readonly distance: number;
  readonly sourceImageId: string;
}

export interface TopPatch extends ScoredPatch {
  /** Smallest upright box around the patch, in source pixels, clipped to the image. */
  readonly box: Box;
  /** Corners of the patch in source pixels, clockwise from its top left one; rotated where alignment rotated the image. */
  readonly corners: Point[];
}

/** A map in the geometry of the source image. */
export interface AnomalyMap extends MapShape {
  readonly format: 'pngOverlay' | 'float32';
  /** A PNG file, or float32 robust z [rows, columns], little-endian. */
  readonly data: Uint8Array;
  readonly mapToSource: AffineTransform;
  readonly workingToSource: AffineTransform;
  /** Corners of the area whose patches count for the image score, in source pixels, clockwise from its top left one. */
  readonly countingArea: Point[];
  readonly scale: readonly ColourStop[];
}

export type WarningKind =
  | 'autoWindow'
  | 'partial'
  | 'tilesFailed'
  | 'engineFailover'
  | 'nothingScored'
  | 'inverted'
  | 'implausible'
  | 'alignmentBound';
export interface AcquisitionWarning {
  readonly kind: WarningKind;
  readonly message: string;
}

/** In patches; the four counts add up to the patch grid. */
export interface Coverage {
  readonly scored: number;
  readonly skipped: number;
  readonly failed: number;
  readonly missing: number;
  readonly missingTiles: readonly TilePosition[];
}

export interface Timings {
  readonly queueMs: number;
  readonly computeMs: number;
  readonly totalMs: number;
  readonly firstScoreMs: number | undefined;
  readonly batchFill: number;
}

export type Decision = 'normal' | 'anomalous' | 'indeterminate';

export interface Aggregate {
  /** NaN where nothing was scored. */
  readonly imageScore: number;
  readonly pValue: number;
  /** p-value among all normals of the calibration, without strata; drift is computed from it. */
  readonly overallPValue: number;
  /** Number of normals that `overallPValue` was computed from. */
  readonly calibrationImages: number;
  readonly decision: Decision;
  readonly threshold: number;
  readonly maxFalsePositiveRate: number;
  readonly coverage: Coverage;
  readonly topPatches: readonly TopPatch[];
  readonly anomalyMap: AnomalyMap | undefined;
  readonly engines: readonly string[];
  readonly timings: Timings;
  readonly warnings: readonly AcquisitionWarning[];
  /** How the memory bank was searched, human-readable. */
  readonly search: string;
  /** Precisions that the engines computed in; empty where no tile was scored. */
  readonly precisions: readonly Precision[];
}

export type AcquisitionEvent =
  | {
      readonly kind: 'accepted';
      readonly engine: EngineName;
      readonly scoresBeforeLastPixel: boolean;
      /** Rectangle of the source image in the working image. */
      readonly placement: Placement;
      /** Without alignment, which is known only after the whole image was received. */
      readonly workingToSource: AffineTransform;
    }
  | {
      readonly kind: 'patches';
      readonly patches: PatchResult[];
      /** Undefined where the image was not aligned. */
      readonly workingToSource: AffineTransform | undefined;
    }
  | { readonly kind: 'aggregate'; readonly aggregate: Aggregate };
