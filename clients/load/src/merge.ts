/** Adds the results of generators that ran at the same time: processes of one machine, or pods of a cluster. */
import type { AcquisitionFigures, LoadResult } from './result.js';
import { type SeriesRow, seriesRow } from './series.js';
import { jainIndex, Latencies } from './statistics.js';

/**
 * The result of all generators together. Percentiles come from the added histograms, and are those of all acquisitions.
 * @throws Error without results, or where the results have different kinds of acquisitions
 */
export function mergeResults(results: readonly LoadResult[]): LoadResult {
  const [first] = results;
  if (first === undefined) throw new Error('there is no result to merge');
  if (results.some(({ kinds }) => kinds.length !== first.kinds.length)) {
    throw new Error('the results have different numbers of kinds of acquisitions');
  }
  const of = (pick: (result: LoadResult) => string) => mergeEncoded(results.map(pick));
  const merged = {
    acquisitions: of(({ histograms }) => histograms.acquisitions),
    refusals: of(({ histograms }) => histograms.refusals),
    tiles: of(({ histograms }) => histograms.tiles),
    startLateness: of(({ histograms }) => histograms.startLateness),
    kinds: first.kinds.map((_, index) => of(({ histograms }) => histograms.kinds[index] ?? '')),
  };
  const sum = (pick: (result: LoadResult) => number) => sumOf(results.map(pick));
  const ok = sum(({ acquisitions }) => acquisitions.ok);
  const streams = results.map(({ tilesPerStream }) => tilesPerStream);
  const tilesPerStream = streams.every((list) => list !== null) ? streams.flat() : null;
  return {
    acquisitions: {
      ...mergeFigures(
        results.map(({ acquisitions }) => acquisitions),
        merged.acquisitions,
      ),
      retries: sum(({ acquisitions }) => acquisitions.retries),
      refusals: merged.refusals.summary(),
    },
    tiles: { perSecond: sum(({ tiles }) => tiles.perSecond), ...merged.tiles.summary() },
    jain: tilesPerStream === null ? null : jainIndex(tilesPerStream),
    batchFill:
      ok > 0
        ? sum(({ acquisitions, batchFill }) => (acquisitions.ok > 0 ? acquisitions.ok * batchFill : 0)) / ok
        : Number.NaN,
    seconds: Math.max(...results.map(({ seconds }) => seconds)),
    stable: results.some(({ stable }) => stable === null) ? null : results.every(({ stable }) => stable),
    kinds: first.kinds.map((_, index) =>
      mergeFigures(
        results.flatMap(({ kinds }) => kinds[index] ?? []),
        merged.kinds[index] ?? new Latencies(),
      ),
    ),
    series: mergeSeries(results.map(({ series }) => series)),
    generator: {
      processes: sum(({ generator }) => generator.processes),
      cpuCores: sum(({ generator }) => generator.cpuCores),
      eventLoopUtilization: Math.max(...results.map(({ generator }) => generator.eventLoopUtilization)),
      startLateness: merged.startLateness.summary(),
    },
    tilesPerStream,
    histograms: {
      acquisitions: merged.acquisitions.encode(),
      refusals: merged.refusals.encode(),
      tiles: merged.tiles.encode(),
      startLateness: merged.startLateness.encode(),
      kinds: merged.kinds.map((latencies) => latencies.encode()),
    },
  };
}

function sumOf(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mergeEncoded(texts: readonly string[]): Latencies {
  const sum = new Latencies();
  for (const text of texts) sum.merge(Latencies.decode(text));
  return sum;
}

function mergeFigures(figures: readonly AcquisitionFigures[], latencies: Latencies): AcquisitionFigures {
  const byStatus: Record<string, number> = {};
  for (const [status, count] of figures.flatMap((each) => Object.entries(each.byStatus))) {
    byStatus[status] = (byStatus[status] ?? 0) + count;
  }
  return {
    ok: sumOf(figures.map(({ ok }) => ok)),
    failed: sumOf(figures.map(({ failed }) => failed)),
    refused: sumOf(figures.map(({ refused }) => refused)),
    perSecond: sumOf(figures.map(({ perSecond }) => perSecond)),
    byStatus,
    ...latencies.summary(),
  };
}

/** Adds the windows of one number: the generators started together. Windows that one generator lacks are left out. */
function mergeSeries(all: readonly (readonly SeriesRow[])[]): readonly SeriesRow[] {
  const [shortest = []] = [...all].sort((a, b) => a.length - b.length);
  return shortest.map(({ fromSeconds }, index) => {
    const rows = all.flatMap((series) => series[index] ?? []);
    const window = {
      fromSeconds,
      seconds: Math.max(...rows.map(({ seconds }) => seconds)),
      failed: sumOf(rows.map(({ failed }) => failed)),
      tiles: sumOf(rows.map(({ tiles }) => tiles)),
    };
    return seriesRow(window, mergeEncoded(rows.map(({ histogram }) => histogram)));
  });
}
