/** What each of several processes gets of cores and limits. */
import { availableParallelism } from 'node:os';
import type { ServeConfig } from '../../config/schema.js';

const CORES_PER_PROCESS = 4;
const AUTO_MAX = 8;

/**
 * In a pod Node may count the cores of the node. `workers` is what the server was told to use, which the chart sets to
 * the CPU limit of the pod, so that `auto` counts these where they are set.
 * @param cores that Node counts
 */
export function processCount(
  { processes, workers }: Pick<ServeConfig, 'processes' | 'workers'>,
  cores = availableParallelism(),
): number {
  if (processes !== 'auto') return processes;
  const usable = workers === 0 ? cores : workers;
  return Math.min(AUTO_MAX, Math.max(1, Math.floor(usable / CORES_PER_PROCESS)));
}

/** One of `count` parts of a whole number, at least 1; all parts together are the whole where it is at least `count`. */
export function partOf(whole: number, index: number, count: number): number {
  const part = Math.floor(whole / count) + (index < whole % count ? 1 : 0);
  return Math.max(1, part);
}

/**
 * The settings of one process. Threads, connections, acquisitions and memory are divided, so that all processes together
 * keep the limits of the server. Limits of a message, a call or a caller apply in each process.
 */
export function configOfProcess(config: ServeConfig, index: number, count: number): ServeConfig {
  const part = (whole: number) => partOf(whole, index, count);
  return {
    ...config,
    processes: 1,
    workers: config.workers === 0 ? 0 : part(config.workers),
    maxConnections: part(config.maxConnections),
    maxConcurrentAcquisitions: part(config.maxConcurrentAcquisitions),
    maxAcquisitionBytes: part(config.maxAcquisitionBytes),
    maxReceivedBytes: part(config.maxReceivedBytes),
    // The first process has these.
    healthListen: '',
    metricsListen: '',
  };
}
