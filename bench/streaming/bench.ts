import type { Workload } from '../../clients/load/src/index.js';
import type { CorePlan } from '../support/cores.js';
import type { RawEngine } from '../support/raw-engine.js';
import type { ServerProcess } from '../support/server-process.js';
import type { Grid } from '../support/workload.js';

/** Everything a measurement needs of one model. */
export interface Bench {
  readonly model: string;
  readonly quick: boolean;
  readonly plan: CorePlan;
  readonly server: ServerProcess;
  readonly raw: RawEngine;
  readonly rawBatchSize: number;
  readonly workload: Workload;
  readonly grid: Grid;
  /** Tiles of the workload's image that are no background. */
  readonly scoredTiles: number;
}
