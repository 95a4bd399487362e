import { type Command, Option } from 'commander';
import { type Arrivals, type LoadResult, runLoad, type Workload } from '../../../clients/load/src/index.js';
import { makePhantom } from '../../phantom/phantom.js';
import type { ProgramContext } from '../shared/context.js';
import { engineOption, MAX_TIMER_MS, numberFrom, wholeNumber } from '../shared/flags.js';
import { helpText } from '../shared/help.js';
import { runInterruptible } from '../shared/interrupt.js';
import { createProgress, EXIT, note, print, printJson, table } from '../shared/output.js';
import { openSession, type Session } from '../shared/session.js';
import { type TargetFlags, withTargetFlags } from '../shared/target.js';
import { MAX_SEED } from './phantom.js';
import { parseSlo, type Slo, violatedSlos } from './slo.js';

interface LoadFlags extends TargetFlags {
  readonly model?: string;
  readonly models?: string;
  readonly engine?: string;
  readonly mode: 'rows' | 'tiles';
  readonly streams?: number;
  readonly rate?: number;
  readonly intervalMs: number;
  readonly acquisitionMs: number;
  readonly duration: number;
  readonly warmUp: number;
  readonly size: number;
  readonly connections: number;
  readonly timeoutMs: number;
  readonly seed: number;
  readonly slo?: readonly Slo[];
  readonly json?: boolean;
}

/** Longest measured time and warm-up, in seconds. */
const MAX_SECONDS = 86_400;

export function registerLoad(program: Command, context: ProgramContext): void {
  const command = program
    .command('load')
    .summary('measure a server under load: throughput, latency, fairness')
    .description(
      'Sends acquisitions to a server and measures throughput, latency and fairness. With --rate or --interval-ms ' +
        'they start on a fixed schedule even if the server falls behind (open loop), so that a slow server cannot ' +
        'hide its latency. Otherwise each stream starts the next one when the last has ended.',
    )
    .option(
      '--model <name|dir>',
      'NAME, NAME@VERSION or a bundle folder; optional if the server has one model',
    )
    .addOption(
      new Option('--mode <mode>', 'form of the pixels sent').choices(['rows', 'tiles']).default('tiles'),
    )
    .addOption(
      new Option('--streams <n>', 'number of concurrent acquisitions (default: 8)')
        .argParser(wholeNumber(1, 100_000))
        .conflicts('rate'),
    )
    .addOption(
      new Option('--rate <r>', 'acquisitions per second, at random times (Poisson), instead of --streams')
        .argParser(numberFrom(0.001, 100_000))
        .conflicts('intervalMs'),
    )
    .option(
      '--interval-ms <ms>',
      'time between two starts of one stream; 0: start when the last one ended',
      numberFrom(0, MAX_TIMER_MS),
      0,
    )
    .option(
      '--acquisition-ms <ms>',
      'time over which the pixels of one acquisition are sent; 0: all at once',
      numberFrom(0, MAX_TIMER_MS),
      0,
    )
    .option('--duration <s>', 'measured time in seconds', numberFrom(0.1, MAX_SECONDS), 10)
    .option('--warm-up <s>', 'unmeasured time before it, in seconds', numberFrom(0, MAX_SECONDS), 1)
    .option('--size <pixels>', 'rows and columns of the image sent', wholeNumber(64, 4096), 512)
    .option('--connections <n>', 'HTTP/2 connections shared by the streams', wholeNumber(1, 10_000), 1)
    .option('--timeout-ms <ms>', 'timeout of each acquisition', wholeNumber(1, MAX_TIMER_MS), 60_000)
    .option('--seed <n>', 'seed of the image and of the random times', wholeNumber(0, MAX_SEED), 1)
    .option(
      '--slo <expression>',
      'service-level objective; exit code 1 if it does not hold; repeatable; see below',
      (text: string, earlier: readonly Slo[] = []) => [...earlier, parseSlo(text)],
    )
    .addOption(
      new Option(
        '--models <dir>',
        'bundles of the server started for this command (default: the shipped models)',
      ).conflicts('target'),
    )
    .addOption(engineOption('engine of the server started for this command').conflicts('target'))
    .option('--json', 'print one JSON object');
  withTargetFlags(command, 'load this server; without it a server is started for this command')
    .addHelpText(
      'after',
      helpText(
        [
          'A latency counts from the scheduled time of sending the pixels. With --rate or --interval-ms a refusal ' +
            '(the server is full) is counted; streams without an interval wait as long as the server asks, and ' +
            'try again.',
          'Objectives: METRIC<NUMBER or METRIC>NUMBER; latencies may have the unit ms or s. Metrics: tile.p50, ' +
            'tile.p90, tile.p99, tile.p99.9, tile.max, the same for acquisition, failed, refused, tiles.perSecond, ' +
            'jain (fairness; 1: equal shares) and batchFill.',
          'Ctrl-C stops the run and prints the figures measured until then. Exit codes: 0 success, 1 an objective ' +
            'does not hold or nothing was scored, 2 wrong usage, 130 interrupted.',
        ],
        [
          ['salad load --model phantom --streams 8 --duration 10', 'eight streams without pauses'],
          [
            'salad load --target 127.0.0.1:50051 --model phantom --rate 20 --mode rows',
            'twenty acquisitions per second, sent as rows',
          ],
          [
            "salad load --model phantom --slo 'tile.p99<200ms' --slo 'failed<1' --json",
            'check objectives in a script',
          ],
        ],
      ),
    )
    .action((flags: LoadFlags) => runInterruptible((signal) => load(flags, context, signal)));
}

async function load(flags: LoadFlags, context: ProgramContext, signal: AbortSignal): Promise<void> {
  const session = await openSession({ ...flags, environment: context.environment, signal });
  try {
    const result = await measure(session, flags, signal);
    const violated = violatedSlos(flags.slo ?? [], result);
    printResult(flags, result, violated);
    if (violated.length > 0 || result.acquisitions.ok === 0) process.exitCode = EXIT.failure;
  } finally {
    await session.close();
  }
}

async function measure(session: Session, flags: LoadFlags, signal: AbortSignal): Promise<LoadResult> {
  const clients = Array.from({ length: flags.connections }, () => session.connect());
  const totalSeconds = flags.warmUp + flags.duration;
  const progress = createProgress('load, seconds', Math.round(totalSeconds));
  const startMs = performance.now();
  try {
    return await runLoad({
      clients,
      model: session.model,
      arrivals: arrivalsOf(flags),
      workload: workloadOf(flags),
      durationMs: flags.duration * 1000,
      warmUpMs: flags.warmUp * 1000,
      timeoutMs: flags.timeoutMs,
      signal,
      onProgress: (done, failed) =>
        progress.update(
          Math.min(totalSeconds, Math.round((performance.now() - startMs) / 1000)),
          `${done} done, ${failed} failed`,
        ),
    });
  } finally {
    progress.stop();
    for (const client of clients) client.close();
  }
}

function arrivalsOf(flags: LoadFlags): Arrivals {
  if (flags.rate !== undefined) return { kind: 'poisson', ratePerSecond: flags.rate, seed: flags.seed };
  return { kind: 'streams', count: flags.streams ?? 8, intervalMs: flags.intervalMs };
}

/** Sends a phantom: it has the contrast of anatomy, so that tiles are scored and not skipped as background. */
function workloadOf(flags: LoadFlags): Workload {
  const phantom = makePhantom({ seed: flags.seed, size: flags.size });
  return {
    mode: flags.mode,
    size: flags.size,
    pixels: Uint8Array.from(phantom.samples, (sample) => sample >> 4),
    tilesPerMessage: 16,
    rowsPerMessage: 16,
    acquisitionMs: flags.acquisitionMs,
  };
}

function printResult(flags: LoadFlags, result: LoadResult, violated: readonly Slo[]): void {
  if (flags.json) {
    printJson({ ...result, slo: { violated: violated.map((slo) => slo.text) } });
    return;
  }
  const row = (name: string, figures: LoadResult['tiles'] | LoadResult['acquisitions']) => [
    name,
    figures.perSecond.toFixed(1),
    ...[figures.p50Ms, figures.p90Ms, figures.p99Ms, figures.p999Ms, figures.maxMs].map((ms) =>
      formatFigure(ms, 1),
    ),
  ];
  print(
    table(
      ['', 'per second', 'p50 ms', 'p90 ms', 'p99 ms', 'p99.9 ms', 'max ms'],
      [row('tiles', result.tiles), row('acquisitions', result.acquisitions)],
    ),
  );
  const { ok, failed, refused, retries, byStatus } = result.acquisitions;
  const retryText = retries > 0 ? `, ${retries} retries after a refusal` : '';
  const statuses = Object.entries(byStatus).map(([status, count]) => `${count} ${status}`);
  const statusText = statuses.length === 0 ? '' : ` (${statuses.join(', ')})`;
  print(`acquisitions: ${ok} ok, ${refused} refused, ${failed} failed${statusText}${retryText}`);
  const jain = result.jain === null ? '' : `, Jain's fairness index ${formatFigure(result.jain, 3)}`;
  print(
    `batch fill ${formatFigure(100 * result.batchFill, 0)} %${jain}; measured for ${result.seconds.toFixed(1)} s`,
  );
  for (const slo of violated)
    note(`salad: SLO violated: ${slo.text} (was ${Number(slo.measure(result).toPrecision(4))})`);
}

/** Formats a number; a dash for a figure that could not be measured (NaN). */
function formatFigure(value: number, digits: number): string {
  return Number.isNaN(value) ? '-' : value.toFixed(digits);
}
