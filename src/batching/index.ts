export { Batcher } from './batcher.js';
export { PRIORITY_CLASSES, type PriorityClass } from './policy.js';
export type {
  BatchExecutor,
  BatchReport,
  TileHandler,
  TileStream,
} from './types.js';
