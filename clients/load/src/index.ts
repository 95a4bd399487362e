/**
 * An open-loop load generator for salad-serve. Every latency counts from the scheduled time of sending the pixels, so
 * that a server that falls behind cannot hide it by slowing the client down (no coordinated omission).
 */
export type { RequestRecord } from './acquire.js';
export { type Comparison, compareSeries, METRICS, type Metric, type MetricChange } from './compare.js';
export type { GeneratorFigures } from './generator.js';
export { mergeResults } from './merge.js';
export { type JobListeners, type LoadJob, runProcesses } from './processes.js';
export type { AcquisitionFigures, LoadResult } from './result.js';
export { type Arrivals, defaultWindowMs, type LoadOptions, runLoad } from './run.js';
export { type SeriesRow, STABLE_WINDOWS, type StopWhenStable } from './series.js';
export type { FileWorkload, LoadFile, LoadKind, Workload } from './workload.js';
