export { scoreAcquisition } from './acquisition.js';
export { AcquisitionBudget } from './budget.js';
export type {
  AcquisitionEvent,
  AcquisitionOptions,
  AcquisitionRequest,
  Aggregate,
  PatchResult,
  PixelMessage,
  ServedModel,
  TileSlot,
} from './types.js';
