/** A server in a process of its own, as users run it, on the cores it is given. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ENGINE_NAMES, type EngineName } from '../../src/engines/engine.js';
import { packageRoot } from '../../src/util/package-root.js';
import { onCores } from './cores.js';

export interface ServerProcess {
  readonly pid: number;
  readonly address: string;
  /** By `name@version`, as a salad server logs it at its start; empty for others. */
  readonly batchLimits: Readonly<Record<string, number>>;
  stop(): Promise<void>;
}

export interface ServeOptions {
  readonly models: string;
  readonly cores: string;
  /** Beside the ones this process has. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Of node itself, such as --cpu-prof. */
  readonly nodeFlags?: readonly string[];
}

/** What `SALAD_BENCH_ENGINE` says, else onnx: every machine has it, and the peers have it too. */
export function benchEngine(): EngineName {
  const name = process.env['SALAD_BENCH_ENGINE'] ?? 'onnx';
  const known = ENGINE_NAMES.find((each) => each === name);
  if (known === undefined) throw new Error(`SALAD_BENCH_ENGINE must be one of ${ENGINE_NAMES.join(', ')}`);
  return known;
}

/** Closed-loop streams wait as long as they must: what admission does is measured by the overload figures alone. */
export const NO_QUEUE_LIMIT = { SALAD_MAX_QUEUE_MS: '86400000' } as const;

/** What docs/explanation/memory.md advises whoever promises an answer soon, whatever is offered. */
export const ANSWER_SOON = { SALAD_MAX_QUEUE_MS: '75' } as const;

/** `salad serve` on a free loopback port with the engine that the benchmark is of. */
export function startSalad(options: ServeOptions): Promise<ServerProcess> {
  const main = join(packageRoot(), 'dist/src/main.js');
  const serve = [
    'serve',
    '--listen',
    '127.0.0.1:0',
    '--models',
    options.models,
    '--engine',
    benchEngine(),
    '--json',
  ];
  return startProcess(
    process.execPath,
    [...(options.nodeFlags ?? []), main, ...serve],
    options.cores,
    options.environment,
  );
}

/** Starts a server that prints `{"event":"ready","address":"HOST:PORT"}` as a line once it serves. */
export async function startProcess(
  command: string,
  args: readonly string[],
  cores: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<ServerProcess> {
  const [program, programArgs] = onCores(cores, command, args);
  const child = spawn(program, [...programArgs], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // No second engine: it would be made ready, on all cores, in the middle of a measurement.
    env: {
      ...process.env,
      SALAD_LOG_LEVEL: 'info',
      SALAD_ENGINE_STANDBY_DELAY_MS: '0',
      ...environment,
    },
  });
  let stderr = '';
  const batchLimits: Record<string, number> = {};
  createInterface({ input: child.stderr }).on('line', (line) => {
    stderr = `${stderr}${line}\n`.slice(-4000);
    const { model, maxBatchSize } = parsed(line);
    if (typeof model === 'string' && typeof maxBatchSize === 'number') batchLimits[model] = maxBatchSize;
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const { event, address } = parsed(line);
    if (event !== 'ready' || typeof address !== 'string') continue;
    child.stdout.resume();
    return { pid: child.pid ?? 0, address, batchLimits, stop: () => stop(child) };
  }
  throw new Error(`${command} ${args.join(' ')} ended before it was ready:\n${stderr}`);
}

/** The line's fields; none where it is not a JSON object. */
function parsed(line: string): Readonly<Record<string, unknown>> {
  try {
    return Object(JSON.parse(line)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await exited;
  clearTimeout(timer);
}
