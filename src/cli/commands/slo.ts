import type { LoadResult } from '../../../clients/load/src/index.js';
import { SaladError } from '../../errors/index.js';

/** A service-level objective such as `tile.p99<50ms`. */
export interface Slo {
  readonly text: string;
  /** The measured value, in ms for latencies. */
  readonly measure: (result: LoadResult) => number;
  readonly holds: (value: number) => boolean;
}

const PERCENTILES = { p50: 'p50Ms', p90: 'p90Ms', p99: 'p99Ms', 'p99.9': 'p999Ms', max: 'maxMs' } as const;

/** @throws SaladError CONFIGURATION_INVALID, saying what is understood. */
export function parseSlo(text: string): Slo {
  const match = /^([a-z0-9.]+)\s*([<>])\s*([0-9.]+)(ms|s)?$/i.exec(text.trim());
  const [, metric = '', operator, number, unit] = match ?? [];
  const measure = measureOf(metric);
  if (!match || !measure) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--slo ${text}: write METRIC<NUMBER[ms|s] or METRIC>NUMBER; metrics: tile.p50|p90|p99|p99.9|max, acquisition.(same), failed, refused, tiles.perSecond, jain, batchFill`,
    );
  }
  const bound = Number(number) * (unit === 's' ? 1000 : 1);
  return { text, measure, holds: operator === '<' ? (value) => value < bound : (value) => value > bound };
}

function measureOf(metric: string): Slo['measure'] | undefined {
  const latency = /^(tile|acquisition)\.(.+)$/.exec(metric);
  if (latency) {
    const key = PERCENTILES[latency[2] as keyof typeof PERCENTILES];
    if (key === undefined) return undefined;
    return (result) => (latency[1] === 'tile' ? result.tiles : result.acquisitions)[key];
  }
  const measures: Record<string, Slo['measure']> = {
    failed: (result) => result.acquisitions.failed,
    refused: (result) => result.acquisitions.refused,
    'tiles.perSecond': (result) => result.tiles.perSecond,
    jain: (result) => result.jain ?? Number.NaN,
    batchFill: (result) => result.batchFill,
  };
  return measures[metric];
}

/** An objective that could not be measured (NaN) does not hold. */
export function violatedSlos(slos: readonly Slo[], result: LoadResult): readonly Slo[] {
  return slos.filter((slo) => !slo.holds(slo.measure(result)));
}
