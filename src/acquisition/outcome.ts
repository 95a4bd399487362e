import type { EngineName } from '../engines/engine.js';
import type { TileIndex } from '../geometry/tile-index.js';
import type { WorkingImage } from '../imaging/working-image/working-image.js';
import type { PatchResults } from './patch-results.js';

/** The state of an acquisition after its last tile, from which the aggregate is built. */
export interface AcquisitionOutcome {
  /** The engine that served when the acquisition began. */
  readonly announcedEngine: EngineName;
  readonly image: WorkingImage;
  readonly results: PatchResults;
  readonly failedPatches: number;
  /** Message of the last failure of a tile. */
  readonly failure: string | undefined;
  readonly missingTiles: readonly TileIndex[];
  readonly endedEarly: boolean;
  readonly totalMs: number;
  readonly firstScoreMs: number | undefined;
}
