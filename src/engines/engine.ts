/**
 * The interface of an engine: it loads an encoder (with or without a memory bank) and scores batches of tiles. Each
 * library has a folder; `selection/` chooses the engine that serves.
 */

import type { Geometry } from '../geometry/geometry.js';
import type { ScoringSpec } from '../geometry/specifications.js';
import type { NetworkDescription, Weights } from '../network/description.js';
import type { Precision } from '../network/precision.js';
import type { MemoryBank } from '../scoring/memory-bank.js';
import type { SearchLimits } from '../scoring/search-plan.js';

export {
  INT8_REMOVED,
  type Precision,
  REQUESTED_PRECISIONS,
  supportedPrecision,
} from '../network/precision.js';

/** The fallback order: best engine first. */
export const ENGINE_NAMES = ['tensorflow', 'webgpu', 'openvino', 'onnx', 'wasm'] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

export interface EngineInfo {
  readonly name: EngineName;
  /** Human-readable, such as "CPU, 1 thread, AVX-512". */
  readonly device: string;
  /** False for an emulation: WebAssembly, a software WebGPU adapter, TensorFlow without a GPU. */
  readonly hardware: boolean;
  /** Threads of one process that may run the engine at the same time; null = no limit. */
  readonly maxWorkers: number | null;
  /** Whether `EngineOptions.sessionThreads` has an effect. */
  readonly canUseSessionThreads: boolean;
}

/** How the bank is searched, where the defaults (SEARCH_LIMITS) do not apply. */
export interface SearchOptions extends Partial<SearchLimits> {
  /** False: the onnx engine searches in the encoder's graph, never in parts beside it; for comparisons. @default true */
  readonly inParts?: boolean;
  /** Folder for the index files of large banks; default: `.cache/salad-serve/search` in the home folder. */
  readonly indexDirectory?: string;
}

/** The execution providers of onnxruntime that the onnx engine can use, by onnxruntime's names. */
export const ONNX_PROVIDERS = ['cpu', 'cuda', 'tensorrt', 'coreml', 'dml', 'webgpu'] as const;
export type OnnxProvider = (typeof ONNX_PROVIDERS)[number];

/** Options for the start of an engine; an engine ignores those of other engines. */
export interface EngineOptions {
  /** Threads of each session, where a session can have several; default 1. */
  readonly sessionThreads?: number;
  /** Execution provider of the onnx engine's sessions; default cpu. */
  readonly onnxProvider?: OnnxProvider;
  /** Folder of OpenVINO's libraries; empty (the default): the one that `npm run engines:openvino` writes. */
  readonly openvinoFolder?: string;
}

/** What an engine needs to run a model; a Bundle has all of it. */
export interface EngineModelSource {
  readonly network: NetworkDescription;
  readonly weights: Weights;
  readonly geometry: Geometry;
  /** True: bfloat16 is requested. Engines without bfloat16 on this processor run float32. */
  readonly bfloat16?: boolean | undefined;
  /** Absent: the model gives embeddings only (training, coreset selection). */
  readonly search?: {
    readonly bank: MemoryBank;
    readonly scoring: ScoringSpec;
    readonly options?: SearchOptions;
  };
}

/** Tiles to score: views of a slot, possibly in shared memory. An engine does not keep them after `run` settles. */
export interface TileBatch {
  readonly count: number;
  /** u8 [count, tileHeight, tileWidth], halo included. */
  readonly pixels: Uint8Array;
  /** int32 [count, 2]: tile row, tile column. */
  readonly positions: Int32Array;
}

/**
 * The arrays that an engine writes. P = patchesPerTile (row by row within the tile), K = neighbourCount,
 * D = embedding size. Only the first `count` tiles are written.
 */
export interface PatchBatch {
  /** float32 [count, P]: patch score in the model's distance unit. Untouched without a bank. */
  readonly scores: Float32Array;
  /** int32 [count, P, K]: memory-bank rows, nearest first, ties to the lowest row. */
  readonly neighbourIndices: Int32Array;
  /** float32 [count, P, K]: their distances. */
  readonly neighbourDistances: Float32Array;
  /** float32 [count, P, D]: unit vectors. */
  readonly embeddings: Float32Array;
}

export interface EngineModel {
  /** Patches per tile (P), embedding size (D), neighbours (K; 0 without a bank). */
  readonly patchCount: number;
  readonly dimension: number;
  readonly neighbourCount: number;
  /** How the bank is searched, human-readable: "exact", "index (usearch, recall 0.995)"; empty without a bank. */
  readonly search: string;
  /** The precision it runs in, which may differ from the requested one. */
  readonly precision: Precision;
  /**
   * Call it for one batch at a time: an engine may reuse memory between runs.
   * @throws SaladError ENGINE_FAILED; the batch may then be tried again, also on another engine.
   */
  run(tiles: TileBatch, patches: PatchBatch): Promise<void>;
  dispose(): Promise<void>;
}

/** How a batch was run. */
export interface EngineRun {
  readonly engine: EngineName;
  /** The precision the model ran in, which may differ from the requested one. */
  readonly precision: Precision;
  /** Engine time in ms, without queueing and thread hops. */
  readonly computeMs: number;
}

export interface Engine {
  readonly info: EngineInfo;
  /** @throws SaladError ENGINE_FAILED where the model cannot be built on this engine. */
  load(source: EngineModelSource): Promise<EngineModel>;
  dispose(): Promise<void>;
}
