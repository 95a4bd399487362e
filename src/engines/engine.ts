/**
 * What an engine is: it loads an encoder (with or without a memory bank) and runs batches of tiles.
 * One folder per backend; `select.ts` walks the ladder.
 */

import type { Geometry } from '../geometry/geometry.js';
import type { ScoringSpec } from '../geometry/specifications.js';
import type { NetworkDescription, Weights } from '../network/description.js';
import type { Int8Spec } from '../network/int8-specification.js';
import type { Precision } from '../network/precision.js';
import type { MemoryBank } from '../scoring/memory-bank.js';
import type { SearchLimits } from '../scoring/search-plan.js';

export { PRECISIONS, type Precision } from '../network/precision.js';

export const ENGINE_NAMES = ['tensorflow', 'webgpu', 'openvino', 'onnx', 'wasm'] as const;
/** Best first: the fallback order. */
export type EngineName = (typeof ENGINE_NAMES)[number];

export interface EngineInfo {
  readonly name: EngineName;
  /** For people, such as "CPU, 1 thread, AVX-512". */
  readonly device: string;
  /**
   * False where the engine stands on an emulation: WebAssembly, a software WebGPU adapter, TensorFlow
   * without a GPU.
   */
  readonly hardware: boolean;
  /** Threads of a process that may run it at once; null = as many as there are. */
  readonly maxWorkers: number | null;
  /** Whether one session can use several threads (`createEngine`). */
  readonly threaded: boolean;
}

/** How the bank is searched, where that is not to be left to the defaults (SEARCH_LIMITS). */
export interface SearchOptions extends Partial<SearchLimits> {
  /** Where index files of large banks are kept; default: `.cache/salad-serve/search` in the home folder. */
  readonly indexDirectory?: string;
}

/** onnxruntime's execution providers that the onnx engine can be put on, as onnxruntime names them. */
export const ONNX_PROVIDERS = ['cpu', 'cuda', 'tensorrt', 'coreml', 'dml', 'webgpu'] as const;
export type OnnxProvider = (typeof ONNX_PROVIDERS)[number];

/** How an engine is started, where it can be told. */
export interface EngineOptions {
  /** Threads of each session, where the engine's can have several; default 1. */
  readonly sessionThreads?: number;
  /** What the onnx engine's sessions run on; default cpu. */
  readonly onnxProvider?: OnnxProvider;
  /** Folder of OpenVINO's libraries; empty (the default): where `npm run engines:openvino` puts them. */
  readonly openvinoFolder?: string;
}

/** What an engine needs to run a model; a Bundle has all of these. */
export interface EngineModelSource {
  readonly network: NetworkDescription;
  readonly weights: Weights;
  readonly geometry: Geometry;
  /** Present: to be run in int8, by engines that can; the others run float32. */
  readonly int8?: Int8Spec | undefined;
  /** True: to be run in bfloat16, by engines that can on this processor; the others run float32. */
  readonly bfloat16?: boolean | undefined;
  /** Absent: embeddings only (training, coreset building). */
  readonly search?: {
    readonly bank: MemoryBank;
    readonly scoring: ScoringSpec;
    readonly options?: SearchOptions;
  };
}

/** Tiles to score. Views into a (shared) slot; an engine never keeps them after `run` settles. */
export interface TileBatch {
  readonly count: number;
  /** u8 [count, tileHeight, tileWidth], halo included. */
  readonly pixels: Uint8Array;
  /** int32 [count, 2]: tile row, tile column. */
  readonly positions: Int32Array;
}

/**
 * Where an engine writes. P = patchesPerTile (row by row within the tile), K = neighbourCount,
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
  /** How the bank is searched, for people: "exact", "index (usearch, recall 0.995)"; empty without a bank. */
  readonly search: string;
  /** What it runs in, whatever was asked for. */
  readonly precision: Precision;
  /**
   * One run at a time: an engine may keep memory of its own from one to the next.
   * @throws SaladError ENGINE_FAILED; the batch may then be retried elsewhere.
   */
  run(tiles: TileBatch, patches: PatchBatch): Promise<void>;
  dispose(): Promise<void>;
}

/** What ran a batch. */
export interface EngineRun {
  readonly engine: EngineName;
  /** What the model ran in, whatever was asked for. */
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
