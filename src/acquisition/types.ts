/** What an acquisition takes and gives, free of any wire format. */
import type { Batcher, PriorityClass } from '../batching/index.js';
import type { Manifest } from '../bundle/manifest.js';
import type { EngineName, PatchBatch, Precision } from '../engines/engine.js';
import type { AffineTransform, Point } from '../geometry/affine.js';
import type { Geometry } from '../geometry/geometry.js';
import type { Box, Placement } from '../geometry/placement.js';
import type { MapShape } from '../imaging/anomaly-map.js';
import type { ColourStop } from '../imaging/colour-scale.js';
import type { PixelFormat } from '../imaging/pixel-format.js';
import type { TilePosition } from '../imaging/working-image.js';
import type { PlausibilityGate } from '../scoring/plausibility.js';
import type { AcquisitionBudget } from './budget.js';

/** Memory that tiles are copied into and scores are read from; implemented by the slots of the pool. */
export interface TileSlot {
  view(model: string): {
    readonly pixels: Uint8Array;
    readonly positions: Int32Array;
    /** float64 [tiles, 5]: the map each tile was aligned by; empty where tiles are not aligned. */
    readonly alignments: Float64Array;
    readonly patches: PatchBatch;
  };
}

/** A loaded model together with what runs it. */
export interface ServedModel {
  /** `name@version`, unique in the server. */
  readonly key: string;
  readonly name: string;
  readonly version: number;
  /** SHA-256 of the bundle's manifest. */
  readonly sha256: string;
  readonly manifest: Manifest;
  readonly geometry: Geometry;
  /** Absent: the model accepts every image. */
  readonly plausibility?: PlausibilityGate | undefined;
  /** int32 [bank rows]: index into manifest.training.sourceImages. */
  readonly prototypeSources: Int32Array;
  /** The one that serves now; it changes when an engine is lost, or comes back. */
  readonly engine: EngineName;
  /** How the memory bank is searched, for people. */
  readonly search: string;
  readonly batcher: Batcher<TileSlot>;
  readonly budget: AcquisitionBudget;
}

export interface AcquisitionRequest {
  /** Who it counts for: an identity or an address. */
  readonly peer: string;
  readonly acquisitionId: string;
  readonly format: PixelFormat;
  readonly source: 'rows' | 'tiles';
  readonly priority: PriorityClass;
  readonly options: AcquisitionOptions;
  /** Milliseconds of the batcher's clock; Infinity without one. */
  readonly deadline: number;
  /** Named in the batcher's reports of batches with tiles of this acquisition. */
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

/** Pixels as they come; the iterable's end without `end` is an early end. */
export type PixelMessage =
  | { readonly kind: 'rows'; readonly firstRow: number; readonly samples: Uint8Array }
  | {
      readonly kind: 'tiles';
      readonly tiles: readonly (TilePosition & { readonly samples: Uint8Array })[];
    }
  | { readonly kind: 'end'; readonly crc32c: number | undefined };

export interface ScoredPatch {
  /** In the patch grid. */
  readonly row: number;
  readonly column: number;
  readonly score: number;
  readonly robustZ: number;
  readonly pValue: number;
}

/** One object a patch, from here to the encoder of the wire: it has the fields of the wire's PatchScore. */
export interface PatchResult extends ScoredPatch {
  /** Empty where not asked for, as `nearestPrototypes`; never changed. */
  readonly embedding: number[];
  readonly nearestPrototypes: NearestPrototype[];
}

export interface NearestPrototype {
  readonly index: number;
  readonly distance: number;
  readonly sourceImageId: string;
}

export interface TopPatch extends ScoredPatch {
  /** What holds the patch, in source pixels, clipped to the image. */
  readonly box: Box;
  /** The patch itself in source pixels, clockwise from its top left corner; turned where alignment turned the image. */
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
  /** Among all normals of the calibration together, whatever strata there are: what drift is judged by. */
  readonly overallPValue: number;
  /** How many normals that p-value is among. */
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
  /** How the memory bank was searched, for people. */
  readonly search: string;
  /** What the model ran in, as the engines that scored a tile say; empty where none did. */
  readonly precisions: readonly Precision[];
}

export type AcquisitionEvent =
  | {
      readonly kind: 'accepted';
      readonly engine: EngineName;
      readonly scoresBeforeLastPixel: boolean;
      /** Where the source lies in the working image. */
      readonly placement: Placement;
      /** As far as it is known now: alignment needs the whole image. */
      readonly workingToSource: AffineTransform;
    }
  | {
      readonly kind: 'patches';
      readonly patches: PatchResult[];
      /** Only of an image that was aligned. */
      readonly workingToSource: AffineTransform | undefined;
    }
  | { readonly kind: 'aggregate'; readonly aggregate: Aggregate };
