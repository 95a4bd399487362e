/** Collects the patch results of one acquisition, and returns those that were not sent yet. */
import type { BatchReport } from '../batching/index.js';
import type { EngineName, PatchBatch, Precision } from '../engines/engine.js';
import { columnOf, rowOf } from '../geometry/cells.js';
import { PatchMask } from '../geometry/patch-mask.js';
import type { TileIndex } from '../geometry/tile-index.js';
import { rankedCells } from '../scoring/aggregate.js';
import { patchPValue } from '../scoring/calibration.js';
import { edgeOffset, needsWholeImage, robustZ, robustZOf, smoothedScores } from '../scoring/patch-z.js';
import { type Implausible, judgePlausibility } from '../scoring/plausibility.js';
import type { NearestPrototype, PatchResult, ScoredPatch, ServedModel } from './types.js';

/** Results that are kept besides the scores. */
export interface ExtraResults {
  readonly embeddings: boolean;
  /** Nearest prototypes of each patch. */
  readonly nearestPrototypes: number;
}

const NO_EMBEDDING: number[] = [];
const NO_PROTOTYPES: NearestPrototype[] = [];

export class PatchResults {
  /** float32 [patchGrid squared]; NaN where not scored. */
  readonly scores: Float32Array;
  /** float32 [patchGrid squared]; NaN where not scored. */
  readonly robustZ: Float32Array;
  readonly engines = new Set<EngineName>();
  /** Precisions that the engines computed in. */
  readonly precisions = new Set<Precision>();
  /** Why the plausibility gate rejected the image; undefined for a plausible one. */
  implausible: Implausible | undefined;
  scoredPatches = 0;
  skippedPatches = 0;
  private readonly mask: PatchMask;
  private scoredTiles = 0;
  private readonly embeddings: Float32Array | undefined;
  private readonly neighbourIndices: Int32Array | undefined;
  private readonly neighbourDistances: Float32Array | undefined;
  private readonly dimension: number;
  private readonly neighbourCount: number;
  /** Scored tiles that `takeNew` has not returned yet, in completion order. */
  private completed: TileIndex[] = [];
  /** Sums over the scored tiles. */
  private queueMs = 0;
  private computeMs = 0;
  private batchFill = 0;

  constructor(
    private readonly model: ServedModel,
    private readonly extras: ExtraResults,
  ) {
    const patches = model.geometry.patchGrid ** 2;
    this.dimension = model.manifest.bank.dimension;
    this.neighbourCount = model.manifest.scoring.neighbourCount;
    this.mask = new PatchMask(model.geometry);
    this.scores = new Float32Array(patches).fill(Number.NaN);
    this.robustZ = new Float32Array(patches).fill(Number.NaN);
    this.embeddings = extras.embeddings ? new Float32Array(patches * this.dimension) : undefined;
    if (extras.nearestPrototypes > 0) {
      this.neighbourIndices = new Int32Array(patches * extras.nearestPrototypes);
      this.neighbourDistances = new Float32Array(patches * extras.nearestPrototypes);
    }
  }

  /** Marks patches as background. Must be called before `store` is called for their tile. */
  skip(patches: readonly number[]): void {
    this.mask.markBackground(patches);
    this.skippedPatches += patches.length;
  }

  /** Number of a tile's patches that are not background. */
  unskippedPatches(tile: TileIndex): number {
    let count = 0;
    this.forEachPatch(tile, () => {
      count += 1;
    });
    return count;
  }

  /**
   * Copies a tile's results from index `index` of a batch, and computes its robust z.
   * @param queueMs time from queued to dispatched
   */
  store(tile: TileIndex, patches: PatchBatch, index: number, batch: BatchReport, queueMs: number): void {
    const { patchesPerTile } = this.model.geometry;
    const { calibration, scoring } = this.model.manifest;
    const { patchGrid } = this.model.geometry;
    this.forEachPatch(tile, (patch, within) => {
      this.scoredPatches += 1;
      const from = index * patchesPerTile + within;
      const score = patches.scores[from]!;
      this.scores[patch] = score;
      this.robustZ[patch] =
        robustZ(calibration, patch, score) - edgeOffset(patch, patchGrid, scoring.edgePenalty);
      this.keepExtras(patch, patches, from);
    });
    const { plausibility } = this.model;
    if (needsWholeImage(this.model.manifest)) this.smooth(this.embeddingsOfImage(patches, index));
    if (plausibility) {
      this.implausible = judgePlausibility(plausibility, this.embeddingsOfImage(patches, index), patchGrid);
    }
    this.completed.push(tile);
    this.scoredTiles += 1;
    this.engines.add(batch.engine);
    this.precisions.add(batch.precision);
    this.queueMs += queueMs;
    this.computeMs += batch.computeMs;
    this.batchFill += batch.tiles / batch.maxTiles;
  }

  /** Only for models with one tile per image: float32 [patchGrid squared, D], row by row. */
  private embeddingsOfImage({ embeddings }: PatchBatch, index: number): Float32Array {
    const values = this.scores.length * this.dimension;
    return embeddings.subarray(index * values, (index + 1) * values);
  }

  /** Recomputes robust z from smoothed scores. */
  private smooth(embeddings: Float32Array): void {
    const { manifest } = this.model;
    this.robustZ.set(robustZOf(manifest, smoothedScores(manifest, { scores: this.scores, embeddings })));
  }

  get hasNew(): boolean {
    return this.completed.length > 0;
  }

  /** Returns results scored since the last call, in completion order: at most `maxPatches`, but at least one tile. */
  takeNew(maxPatches: number): PatchResult[] {
    const { patchesPerTile } = this.model.geometry;
    const tiles = this.completed.splice(0, Math.max(1, Math.floor(maxPatches / patchesPerTile)));
    const results: PatchResult[] = [];
    for (const tile of tiles) this.forEachPatch(tile, (patch) => results.push(this.result(patch)));
    return results;
  }

  /** The `count` patches with the highest robust z, highest first, among those that count for the image score. */
  top(count: number): readonly ScoredPatch[] {
    const { geometry, manifest } = this.model;
    const ranked = rankedCells(this.robustZ, geometry, manifest.scoring.aggregate);
    return ranked.slice(0, count).map((patch) => {
      const { row, column, score, robustZ, pValue } = this.result(patch);
      return { row, column, score, robustZ, pValue };
    });
  }

  /** Means over the scored tiles; 0 where there are none. */
  meanTimings(): { readonly queueMs: number; readonly computeMs: number; readonly batchFill: number } {
    const count = Math.max(1, this.scoredTiles);
    return {
      queueMs: this.queueMs / count,
      computeMs: this.computeMs / count,
      batchFill: this.batchFill / count,
    };
  }

  /** Calls `visit` for every patch of a tile that is not background. */
  private forEachPatch(tile: TileIndex, visit: (patch: number, within: number) => void): void {
    this.mask.forEachScored(tile, visit);
  }

  private keepExtras(patch: number, batch: PatchBatch, from: number): void {
    const { dimension, neighbourCount } = this;
    this.embeddings?.set(
      batch.embeddings.subarray(from * dimension, (from + 1) * dimension),
      patch * dimension,
    );
    const count = this.extras.nearestPrototypes;
    const first = from * neighbourCount;
    this.neighbourIndices?.set(batch.neighbourIndices.subarray(first, first + count), patch * count);
    this.neighbourDistances?.set(batch.neighbourDistances.subarray(first, first + count), patch * count);
  }

  private result(patch: number): PatchResult {
    const { patchGrid } = this.model.geometry;
    const z = this.robustZ[patch]!;
    const at = patch * this.dimension;
    return {
      row: rowOf(patch, patchGrid),
      column: columnOf(patch, patchGrid),
      score: this.scores[patch]!,
      robustZ: z,
      pValue: patchPValue(this.model.manifest.calibration, z),
      embedding: this.embeddings
        ? Array.from(this.embeddings.subarray(at, at + this.dimension))
        : NO_EMBEDDING,
      nearestPrototypes: this.nearest(patch),
    };
  }

  private nearest(patch: number): NearestPrototype[] {
    const count = this.extras.nearestPrototypes;
    if (count === 0) return NO_PROTOTYPES;
    const sources = this.model.manifest.training.sourceImages;
    return Array.from({ length: count }, (_, rank) => {
      const index = this.neighbourIndices![patch * count + rank]!;
      const distance = this.neighbourDistances![patch * count + rank]!;
      return { index, distance, sourceImageId: sources[this.model.prototypeSources[index] ?? -1] ?? '' };
    });
  }
}
