/** Settings of the load generator for the small bundle. */
import type { Workload } from '../../../clients/load/src/index.js';
import { SIDE, smallImage } from './small-server.js';

/** One small image, sent as fast as the server accepts it. */
export function smallWorkload(mode: Workload['mode']): Workload {
  return {
    mode,
    size: SIDE,
    pixels: smallImage(1),
    tilesPerMessage: 16,
    rowsPerMessage: 16,
    acquisitionMs: 0,
  };
}
