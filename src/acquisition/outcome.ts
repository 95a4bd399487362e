import type { EngineName } from '../engines/engine.js';
import type { TilePosition, WorkingImage } from '../imaging/working-image.js';
import type { PatchResults } from './patch-results.js';

/** What an acquisition ended with. */
export interface AcquisitionOutcome {
  /** Served when the acquisition began. */
  readonly announcedEngine: EngineName;
  readonly image: WorkingImage;
  readonly results: PatchResults;
  readonly failedPatches: number;
  readonly failure: string | undefined;
  readonly missingTiles: readonly TilePosition[];
  readonly endedEarly: boolean;
  readonly totalMs: number;
  readonly firstScoreMs: number | undefined;
}
