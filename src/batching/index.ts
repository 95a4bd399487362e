export { Batcher } from './batcher.js';
export { PRIORITY_CLASSES, type PriorityClass } from './policy.js';
export type {
  BatchExecutor,
  BatchReport,
  BatchRun,
  TileHandler,
  TileStream,
  TileTiming,
} from './types.js';
