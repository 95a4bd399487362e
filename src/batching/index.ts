export {
  type BatchExecutor,
  Batcher,
  type BatchRun,
  type TileHandler,
  type TileStream,
  type TileTiming,
} from './batcher.js';
export { PRIORITY_CLASSES, type PriorityClass } from './policy.js';
