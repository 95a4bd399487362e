import { type Command, Option } from 'commander';
import { type Arrivals, type LoadResult, runLoad, type Workload } from '../../../clients/load/src/index.js';
import { makePhantom } from '../../phantom/phantom.js';
import type { ProgramContext } from '../shared/context.js';
import { engineOption, MAX_TIMER_MS, numberFrom, wholeNumber } from '../shared/flags.js';
import { helpText } from '../shared/help.js';
import { untilInterrupted } from '../shared/interrupt.js';
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
      'Sends acquisitions to a server and measures throughput, latency and fairness. Acquisitions start when they ' +
        'are meant to, whether the server keeps up or not (open loop), so a slow server cannot hide its latency.',
    )
    .option(
      '--model <name|dir>',
      'NAME, NAME@VERSION or a bundle folder; may be left out where one is loaded',
    )
    .addOption(new Option('--mode <mode>', 'what is sent').choices(['rows', 'tiles']).default('tiles'))
    .addOption(
      new Option('--streams <n>', 'acquisitions at the same time (default: 8)')
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
      'time between two starts of one stream; 0: one begins when the one before it ends',
      numberFrom(0, MAX_TIMER_MS),
      0,
    )
    .option(
      '--acquisition-ms <ms>',
      'time over which the pixels of one acquisition are sent; 0: at once',
      numberFrom(0, MAX_TIMER_MS),
      0,
    )
    .option('--duration <s>', 'measured time in seconds', numberFrom(0.1, MAX_SECONDS), 10)
    .option('--warm-up <s>', 'seconds before it that are not measured', numberFrom(0, MAX_SECONDS), 1)
    .option('--size <pixels>', 'rows and columns of the image that is sent', wholeNumber(64, 4096), 512)
    .option('--connections <n>', 'HTTP/2 connections that the streams share', wholeNumber(1, 10_000), 1)
    .option('--timeout-ms <ms>', 'longest time for an acquisition', wholeNumber(1, MAX_TIMER_MS), 60_000)
    .option('--seed <n>', 'seed of the image and of the random times', wholeNumber(0, MAX_SEED), 1)
    .option(
      '--slo <expression>',
      'service-level objective: exit 1 unless it holds; may be given again, see below',
      (text: string, before: readonly Slo[] = []) => [...before, parseSlo(text)],
    )
    .addOption(
      new Option(
        '--models <dir>',
        'bundles of the server started here (default: the shipped ones)',
      ).conflicts('target'),
    )
    .addOption(engineOption('engine of the server started here').conflicts('target'))
    .option('--json', 'print one JSON object');
  withTargetFlags(
    command,
    'load this server; without it one is started for this command and stopped after it',
  )
    .addHelpText(
      'after',
      helpText(
        [
          'A latency counts from the time at which the pixels were meant to be sent. A refusal (the server is full) ' +
            'is counted under --rate and --interval-ms; streams back to back wait as long as the server asks, ' +
            'and try again.',
          'Objectives: METRIC<NUMBER or METRIC>NUMBER, with ms or s for latencies. Metrics: tile.p50, .p90, .p99, ' +
            '.p99.9 and .max, the same of acquisition, failed, refused, tiles.perSecond, jain (fairness, 1 is ' +
            'equal shares) and batchFill.',
          'Ctrl-C stops, and what was measured until then is printed. Exit codes: 0 success, 1 an objective does ' +
            'not hold or nothing was scored, 2 wrong usage, 130 interrupted.',
        ],
        [
          ['salad load --model phantom --streams 8 --duration 10', 'eight streams back to back'],
          [
            'salad load --target 127.0.0.1:50051 --model phantom --rate 20 --mode rows',
            'twenty acquisitions a second, as detectors send them',
          ],
          ["salad load --model phantom --slo 'tile.p99<200ms' --slo 'failed<1' --json", 'as a check'],
        ],
      ),
    )
    .action((flags: LoadFlags) => untilInterrupted((signal) => load(flags, context, signal)));
}

async function load(flags: LoadFlags, context: ProgramContext, signal: AbortSignal): Promise<void> {
  const session = await openSession({ ...flags, environment: context.environment, signal });
  try {
    const result = await measure(session, flags, signal);
    const violated = violatedSlos(flags.slo ?? [], result);
    report(flags, result, violated);
    const isUseless = result.acquisitions.ok === 0;
    if (violated.length > 0 || isUseless) process.exitCode = EXIT.failure;
  } finally {
    await session.close();
  }
}

async function measure(session: Session, flags: LoadFlags, signal: AbortSignal): Promise<LoadResult> {
  const clients = Array.from({ length: flags.connections }, () => session.connect());
  const totalSeconds = flags.warmUp + flags.duration;
  const progress = createProgress('load, seconds', Math.round(totalSeconds));
  const started = performance.now();
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
          Math.min(totalSeconds, Math.round((performance.now() - started) / 1000)),
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

/** A phantom, so that the engine sees anatomy and no tile is skipped as background without a reason. */
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

function report(flags: LoadFlags, result: LoadResult, violated: readonly Slo[]): void {
  if (flags.json) {
    printJson({ ...result, slo: { violated: violated.map((slo) => slo.text) } });
    return;
  }
  const line = (name: string, s: LoadResult['tiles'] | LoadResult['acquisitions']) => [
    name,
    s.perSecond.toFixed(1),
    ...[s.p50Ms, s.p90Ms, s.p99Ms, s.p999Ms, s.maxMs].map((ms) => figure(ms, 1)),
  ];
  print(
    table(
      ['', 'per second', 'p50 ms', 'p90 ms', 'p99 ms', 'p99.9 ms', 'max ms'],
      [line('tiles', result.tiles), line('acquisitions', result.acquisitions)],
    ),
  );
  const { ok, failed, refused, retries, byStatus } = result.acquisitions;
  const again = retries > 0 ? `, ${retries} attempts after a refusal` : '';
  const statuses = Object.entries(byStatus).map(([status, count]) => `${count} ${status}`);
  const why = statuses.length === 0 ? '' : ` (${statuses.join(', ')})`;
  print(`acquisitions: ${ok} ok, ${refused} refused, ${failed} failed${why}${again}`);
  const jain = result.jain === null ? '' : `, Jain's fairness index ${figure(result.jain, 3)}`;
  print(
    `batch fill ${figure(100 * result.batchFill, 0)} %${jain}; measured for ${result.seconds.toFixed(1)} s`,
  );
  for (const slo of violated) note(`salad: SLO violated: ${slo.text} (was ${slo.measure(result)})`);
}

/** A dash for what could not be measured. */
function figure(value: number, digits: number): string {
  return Number.isNaN(value) ? '-' : value.toFixed(digits);
}
