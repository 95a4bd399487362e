/** The figures of a load run. */
import type { GeneratorFigures } from './generator.js';
import type { SeriesRow } from './series.js';
import { jainIndex, type LatencySummary } from './statistics.js';
import type { Counts, Tally } from './tally.js';

export interface AcquisitionFigures extends LatencySummary {
  readonly ok: number;
  readonly failed: number;
  /** Acquisitions that ended with RESOURCE_EXHAUSTED or UNAVAILABLE: the server asked to try again later. */
  readonly refused: number;
  readonly perSecond: number;
  /** Failures and refusals by gRPC status. */
  readonly byStatus: Readonly<Record<string, number>>;
}

/** Compressed texts of HdrHistogram, in microseconds; equal histograms of several reports can be added. */
export interface Histograms {
  readonly acquisitions: string;
  readonly refusals: string;
  readonly tiles: string;
  readonly startLateness: string;
  /** Acquisitions of each kind, in the order of the options. */
  readonly kinds: readonly string[];
}

export interface LoadResult {
  readonly acquisitions: AcquisitionFigures & {
    /** Retries after a refusal, of streams without an interval. */
    readonly retries: number;
    /** Time from the scheduled start to the refusal. */
    readonly refusals: LatencySummary;
  };
  readonly tiles: LatencySummary & { readonly perSecond: number };
  /** Jain's fairness index over the scored tiles of each stream; null for Poisson arrivals. */
  readonly jain: number | null;
  /** Mean fill of the tiles' batches, as a share of the batch limit, reported by the server. */
  readonly batchFill: number;
  /** Measured time; shorter than the duration if the signal or the stop criterion ended the run. */
  readonly seconds: number;
  /** Whether the stop criterion ended the run; null without one. */
  readonly stable: boolean | null;
  /** Figures of each kind of acquisition, in the order of the options. */
  readonly kinds: readonly AcquisitionFigures[];
  readonly series: readonly SeriesRow[];
  readonly generator: GeneratorFigures;
  /** Scored tiles of each stream; null for Poisson arrivals. */
  readonly tilesPerStream: readonly number[] | null;
  readonly histograms: Histograms;
}

export interface RunEnd {
  /** Measured time; 0 if the run ended in its warm-up. */
  readonly seconds: number;
  readonly hasStreams: boolean;
  readonly stable: boolean | null;
  readonly series: readonly SeriesRow[];
  readonly generator: GeneratorFigures;
}

/** A quantile of nothing and a share of nothing are NaN; JSON writes null for them. */
export function resultOf(tally: Tally, end: RunEnd): LoadResult {
  const { total } = tally;
  const { seconds, hasStreams, stable, series, generator } = end;
  const ok = total.acquisitions.count;
  return {
    acquisitions: {
      ...acquisitionFigures(total, seconds),
      retries: tally.retries,
      refusals: total.refusals.summary(),
    },
    tiles: { perSecond: perSecond(tally.tileCount, seconds), ...tally.tiles.summary() },
    jain: hasStreams ? jainIndex(tally.tilesPerStream) : null,
    batchFill: ok > 0 ? tally.batchFillSum / ok : Number.NaN,
    seconds,
    stable,
    kinds: tally.kinds.map((counts) => acquisitionFigures(counts, seconds)),
    series,
    generator,
    tilesPerStream: hasStreams ? tally.tilesPerStream : null,
    histograms: {
      acquisitions: total.acquisitions.encode(),
      refusals: total.refusals.encode(),
      tiles: tally.tiles.encode(),
      startLateness: tally.startLateness.encode(),
      kinds: tally.kinds.map(({ acquisitions }) => acquisitions.encode()),
    },
  };
}

function acquisitionFigures(counts: Counts, seconds: number): AcquisitionFigures {
  const ok = counts.acquisitions.count;
  const refused = counts.refusals.count;
  return {
    ok,
    failed: counts.failed - refused,
    refused,
    perSecond: perSecond(ok, seconds),
    byStatus: counts.byStatus,
    ...counts.acquisitions.summary(),
  };
}

function perSecond(count: number, seconds: number): number {
  return seconds > 0 ? count / seconds : 0;
}
