import { type Command, Option } from 'commander';
import { type Arrivals, type LoadResult, runLoad, type Workload } from '../../../clients/load/src/index.js';
import { ENGINE_NAMES } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';
import { makePhantom } from '../../phantom/phantom.js';
import type { ProgramContext } from '../shared/context.js';
import { createProgress, EXIT, note, print, printJson, table } from '../shared/output.js';
import { chooseModel, openSession } from '../shared/session.js';
import { type TargetFlags, withTargetFlags } from '../shared/target.js';
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
  readonly slo: readonly Slo[];
  readonly json?: boolean;
}

function numberAtLeast(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isFinite(value) || value < min) {
      throw new SaladError('CONFIGURATION_INVALID', `"${text}": must be a number of at least ${min}`);
    }
    return value;
  };
}

export function registerLoad(program: Command, context: ProgramContext): void {
  withTargetFlags(program.command('load'))
    .description(
      'load a server with streaming acquisitions, open loop: no latency hides behind a slow client',
    )
    .option('--model <name[@version]>', 'which model; may be left out where one is loaded')
    .option('--models <dir>', 'folder of bundles for the embedded server')
    .option('--engine <name>', `engine of the embedded server: auto or ${ENGINE_NAMES.join(', ')}`)
    .addOption(new Option('--mode <mode>', 'what is sent').choices(['rows', 'tiles']).default('tiles'))
    .addOption(
      new Option('--streams <n>', 'concurrent streams').argParser(numberAtLeast(1)).conflicts('rate'),
    )
    .option('--rate <r>', 'Poisson arrivals of acquisitions per second', numberAtLeast(0.001))
    .option(
      '--interval-ms <ms>',
      'between intended starts of one stream; 0 = back to back',
      numberAtLeast(0),
      0,
    )
    .option(
      '--acquisition-ms <ms>',
      'time over which the pixels of one acquisition are sent',
      numberAtLeast(0),
      0,
    )
    .option('--duration <s>', 'measured time in seconds', numberAtLeast(0.1), 10)
    .option('--warm-up <s>', 'time before it that is not measured', numberAtLeast(0), 1)
    .option('--size <px>', 'side of the source image in rows mode', numberAtLeast(8), 512)
    .option('--connections <n>', 'HTTP/2 connections the streams share', numberAtLeast(1), 1)
    .option('--timeout-ms <ms>', 'deadline of an acquisition', numberAtLeast(1), 60_000)
    .option('--seed <n>', 'of the arrivals and the image', numberAtLeast(0), 1)
    .option(
      '--slo <expression>',
      'exit 1 unless it holds; may be repeated (tile.p99<50ms, acquisition.p99.9<2s, failed<1, jain>0.95)',
      (text: string, before: readonly Slo[]) => [...before, parseSlo(text)],
      [] as readonly Slo[],
    )
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  salad load --model phantom --streams 8 --duration 10
  salad load --target 127.0.0.1:50051 --model phantom --rate 20 --mode rows --acquisition-ms 1000
  salad load --model phantom --streams 32 --slo 'tile.p99<200ms' --slo 'failed<1' --json

Latencies count from the intended send time of the pixels a tile needs, not from when the client got round to it.
A refusal counts as one under --rate and --interval-ms; streams back to back come back when they are told to.`,
    )
    .action((flags: LoadFlags) => load(flags, context));
}

async function load(flags: LoadFlags, context: ProgramContext): Promise<void> {
  const session = await openSession({ ...flags, environment: context.environment });
  const clients = Array.from({ length: flags.connections }, () => session.connect());
  const interrupt = new AbortController();
  const onSignal = () => interrupt.abort();
  process.once('SIGINT', onSignal);
  const totalSeconds = flags.warmUp + flags.duration;
  const progress = createProgress('load', Math.round(totalSeconds));
  const started = performance.now();
  try {
    const result = await runLoad({
      clients,
      model: chooseModel(flags.model, session.models),
      arrivals: arrivalsOf(flags),
      workload: workloadOf(flags),
      durationMs: flags.duration * 1000,
      warmUpMs: flags.warmUp * 1000,
      timeoutMs: flags.timeoutMs,
      signal: interrupt.signal,
      onProgress: (done, failed) =>
        progress.update(
          Math.min(totalSeconds, Math.round((performance.now() - started) / 1000)),
          `${done} done, ${failed} failed`,
        ),
    });
    progress.stop();
    const violated = violatedSlos(flags.slo, result);
    report(flags, result, violated);
    if (violated.length > 0) process.exitCode = EXIT.failure;
    if (interrupt.signal.aborted) process.exitCode = EXIT.interrupted;
  } finally {
    progress.stop();
    process.off('SIGINT', onSignal);
    for (const client of clients) client.close();
    await session.close();
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
    ...[s.p50Ms, s.p90Ms, s.p99Ms, s.p999Ms, s.maxMs].map((ms) => ms.toFixed(1)),
  ];
  print(
    table(
      ['', 'per second', 'p50 ms', 'p90 ms', 'p99 ms', 'p99.9 ms', 'max ms'],
      [line('tiles', result.tiles), line('acquisitions', result.acquisitions)],
    ),
  );
  const { ok, failed, refused, retries, byStatus } = result.acquisitions;
  const again = retries > 0 ? `, ${retries} attempts after a refusal` : '';
  print(`acquisitions: ${ok} ok, ${refused} refused, ${failed} failed${again} ${JSON.stringify(byStatus)}`);
  print(
    `batch fill ${(100 * result.batchFill).toFixed(0)} %${result.jain === null ? '' : `, Jain's index ${result.jain.toFixed(3)}`}`,
  );
  for (const slo of violated) note(`salad: SLO violated: ${slo.text} (was ${slo.measure(result)})`);
}
