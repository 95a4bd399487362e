/** How a client in tile mode cuts. */
import type { Geometry } from '../../../src/gen/salad/v1/types.js';

/** Rows and columns of the samples that one tile takes, in pixels of the working image. */
export function coreShape({ coreSize, coreColumns }: Geometry): {
  readonly rows: number;
  readonly columns: number;
} {
  // A server that knows square tiles only leaves the columns out.
  return { rows: coreSize, columns: coreColumns || coreSize };
}
