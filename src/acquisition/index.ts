export { Latch } from '../util/latch.js';
export { scoreAcquisition } from './acquisition.js';
export { AcquisitionBudget, type Release } from './budget.js';
export { Shares } from './shares.js';
export { scoreTiles, type TilesResult } from './tiles.js';
export type {
  AcquisitionEvent,
  AcquisitionOptions,
  AcquisitionRequest,
  Aggregate,
  Decision,
  PatchResult,
  PixelMessage,
  ServedModel,
  TileSlot,
} from './types.js';
