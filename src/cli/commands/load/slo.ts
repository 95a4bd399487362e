import type { LoadResult } from '../../../../clients/load/src/index.js';
import { SaladError } from '../../../errors/index.js';

/** The figures that objectives are about. */
export type Measured = Pick<LoadResult, 'acquisitions' | 'tiles' | 'jain' | 'batchFill'>;

/** A service-level objective (SLO) such as `tile.p99<50ms`. */
export interface Slo {
  readonly text: string;
  /** The measured value, in ms for latencies. */
  readonly measure: (result: Measured) => number;
  readonly holds: (value: number) => boolean;
}

const PERCENTILES = { p50: 'p50Ms', p90: 'p90Ms', p99: 'p99Ms', 'p99.9': 'p999Ms', max: 'maxMs' } as const;

/** @throws SaladError CONFIGURATION_INVALID; its message lists the valid expressions */
export function parseSlo(text: string): Slo {
  const match = /^([a-z0-9.]+)\s*([<>])\s*(\d+(?:\.\d+)?)(ms|s)?$/i.exec(text.trim());
  const [, metric = '', operator, number, unit] = match ?? [];
  const measure = measureOf(metric);
  const isLatency = /^(tile|acquisition)\./.test(metric);
  if (!match || !measure || (unit !== undefined && !isLatency)) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--slo ${text}: write METRIC<NUMBER or METRIC>NUMBER, such as tile.p99<200ms; metrics: tile.p50, tile.p90, tile.p99, ` +
        'tile.p99.9, tile.max (unit ms or s), the same for acquisition, failed, refused, tiles.perSecond, jain, batchFill',
    );
  }
  const bound = Number(number) * (unit?.toLowerCase() === 's' ? 1000 : 1);
  return { text, measure, holds: operator === '<' ? (value) => value < bound : (value) => value > bound };
}

function measureOf(metric: string): Slo['measure'] | undefined {
  const latency = /^(tile|acquisition)\.(.+)$/.exec(metric);
  if (latency) {
    const percentile = latency[2] ?? '';
    if (!isPercentile(percentile)) return undefined;
    const key = PERCENTILES[percentile];
    return (result) => (latency[1] === 'tile' ? result.tiles : result.acquisitions)[key];
  }
  const measures: Record<string, Slo['measure']> = {
    failed: (result) => result.acquisitions.failed,
    refused: (result) => result.acquisitions.refused,
    'tiles.perSecond': (result) => result.tiles.perSecond,
    jain: (result) => result.jain ?? Number.NaN,
    batchFill: (result) => result.batchFill,
  };
  return Object.hasOwn(measures, metric) ? measures[metric] : undefined;
}

function isPercentile(text: string): text is keyof typeof PERCENTILES {
  return Object.hasOwn(PERCENTILES, text);
}

/** An objective that could not be measured (NaN) does not hold. */
export function violatedSlos(slos: readonly Slo[], result: Measured): readonly Slo[] {
  return slos.filter((slo) => !slo.holds(slo.measure(result)));
}
