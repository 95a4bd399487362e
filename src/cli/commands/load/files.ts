/** Reads the reports that `salad load --json` and `--out` write. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { SaladError, systemReason } from '../../../errors/index.js';
import type { LoadReport } from './report.js';

export interface ReportFile {
  readonly name: string;
  readonly report: LoadReport;
}

/** What `merge` and `diff` read; the rest is printed as it is. */
const RESULT = z.looseObject({
  acquisitions: z.looseObject({ ok: z.number() }),
  seconds: z.number(),
  kinds: z.array(z.looseObject({ ok: z.number() })),
  series: z.array(z.looseObject({ histogram: z.string(), seconds: z.number(), tiles: z.number() })),
  generator: z.looseObject({ processes: z.number() }),
  histograms: z.looseObject({ acquisitions: z.string(), kinds: z.array(z.string()) }),
  slo: z.looseObject({ violated: z.array(z.string()) }),
});
const REPORT = RESULT.extend({
  steps: z.array(RESULT).optional(),
  settings: z.looseObject({}),
  server: z.looseObject({}),
  startedAt: z.string(),
});

/**
 * @param paths files, folders of .json files, or `-` for reports on standard input, one a line
 * @throws SaladError CONFIGURATION_INVALID for a path without a report
 */
export async function readReports(paths: readonly string[]): Promise<readonly ReportFile[]> {
  const reports: ReportFile[] = [];
  for (const path of paths) {
    if (path === '-') reports.push(...parseLines('standard input', await text(process.stdin)));
    else for (const file of await listFiles(path)) reports.push(...parseLines(file, await read(file)));
  }
  return reports;
}

/** Reads again until there are `count` complete reports: other generators write them when they end. */
export async function waitForReports(
  paths: readonly string[],
  count: number,
  waitSeconds: number,
  signal: AbortSignal,
): Promise<readonly ReportFile[]> {
  const until = performance.now() + waitSeconds * 1000;
  for (;;) {
    let reports: readonly ReportFile[] = [];
    let failure: unknown;
    try {
      reports = await readReports(paths);
    } catch (error) {
      // A report that is being written is not complete yet.
      failure = error;
    }
    if (reports.length >= count) return reports;
    if (signal.aborted || performance.now() >= until) {
      const cause = failure === undefined ? {} : { cause: failure };
      const why = failure instanceof Error ? ` (${failure.message})` : '';
      const message = `${reports.length} of ${count} reports are there after ${waitSeconds} s${why}`;
      throw new SaladError(signal.aborted ? 'CANCELLED' : 'CONFIGURATION_INVALID', message, cause);
    }
    await sleep(POLL_MS, undefined, { signal }).catch(() => {});
  }
}

const POLL_MS = 1000;

async function listFiles(path: string): Promise<readonly string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path];
    const names = await readdir(path);
    return names
      .filter((name) => name.endsWith('.json'))
      .sort()
      .map((name) => join(path, name));
  } catch (error) {
    throw new SaladError('CONFIGURATION_INVALID', `${path}: ${systemReason(error)}`, { cause: error });
  }
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new SaladError('CONFIGURATION_INVALID', `${file}: ${systemReason(error)}`, { cause: error });
  }
}

/** Other lines, such as the notes in the log of a pod, are ignored; at least one line must be a report. */
function parseLines(name: string, content: string): readonly ReportFile[] {
  const reports = content
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .flatMap((line) => parseReport(line));
  if (reports.length > 0) return reports.map((report) => ({ name, report }));
  throw new SaladError(
    'CONFIGURATION_INVALID',
    `${name} holds no report of salad load: write one with --json or --out`,
  );
}

function parseReport(line: string): readonly LoadReport[] {
  try {
    const value: unknown = JSON.parse(line);
    return REPORT.safeParse(value).success ? [value as LoadReport] : [];
  } catch {
    return [];
  }
}
