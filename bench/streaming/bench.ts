import type { Workload } from '../../clients/load/src/index.js';
import type { CorePlan } from '../support/cores.js';
import type { RawEngine } from '../support/raw-engine.js';
import type { ServerProcess } from '../support/server-process.js';
import type { Grid } from '../support/workload.js';

/** Everything that a measurement of one model needs. */
export interface Bench {
  readonly model: string;
  readonly quick: boolean;
  readonly plan: CorePlan;
  readonly server: ServerProcess;
  readonly raw: RawEngine;
  readonly rawBatchSize: number;
  readonly workload: Workload;
  readonly grid: Grid;
  /** Number of tiles of the workload's image that are not background. */
  readonly scoredTiles: number;
}
