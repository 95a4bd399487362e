export { Batcher } from './batcher.js';
export type {
  BatchExecutor,
  BatchReport,
  BatchRun,
  TileHandler,
  TileStream,
  TileTiming,
} from './contract.js';
export { PRIORITY_CLASSES, type PriorityClass } from './policy.js';
