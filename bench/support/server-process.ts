/** Starts a server in a separate process, as users do, on given cores. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ENGINE_NAMES, type EngineName } from '../../src/engines/engine.js';
import { packageRoot } from '../../src/util/package-root.js';
import { onCores } from './cores.js';
import { endOnAbort, endProcess } from './end-process.js';

export interface ServerProcess {
  readonly pid: number;
  readonly address: string;
  /** By `name@version`, from the log of salad-serve at its start; empty for other servers. */
  readonly batchLimits: Readonly<Record<string, number>>;
  stop(): Promise<void>;
}

export interface ServeOptions {
  readonly models: string;
  readonly cores: string;
  /** Variables in addition to those of this process. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Flags of Node, such as --cpu-prof. */
  readonly nodeFlags?: readonly string[];
}

/** The engine of `SALAD_BENCH_ENGINE`; by default onnx, which every machine has and which the peers use too. */
export function benchEngine(): EngineName {
  const requested = process.env['SALAD_BENCH_ENGINE'] ?? 'onnx';
  const name = ENGINE_NAMES.find((each) => each === requested);
  if (name === undefined) throw new Error(`SALAD_BENCH_ENGINE must be one of ${ENGINE_NAMES.join(', ')}`);
  return name;
}

/** Closed-loop streams are never refused; only the overload figures measure admission control. */
export const NO_QUEUE_LIMIT = { SALAD_MAX_QUEUE_MS: '86400000', SALAD_OVERLOAD_QUEUE_RATIO: '0' } as const;

/** Starts `salad serve` on a free loopback port with the engine of `benchEngine`. */
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

export interface Watched {
  /** Ends the server. */
  readonly signal?: AbortSignal;
  /** Receives the lines of its log. */
  readonly onLogLine?: (line: string) => void;
}

/** Starts a server that prints the line `{"event":"ready","address":"HOST:PORT"}` when it is ready. */
export async function startProcess(
  command: string,
  args: readonly string[],
  cores: string,
  environment: Readonly<Record<string, string>> = {},
  { signal, onLogLine }: Watched = {},
): Promise<ServerProcess> {
  const [program, programArgs] = onCores(cores, command, args);
  const child = spawn(program, [...programArgs], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // No standby engine: preparing it would use all cores during a measurement.
    env: {
      ...process.env,
      SALAD_LOG_LEVEL: 'info',
      SALAD_ENGINE_STANDBY_DELAY_MS: '0',
      ...environment,
    },
  });
  endOnAbort(child, signal);
  let stderr = '';
  const batchLimits: Record<string, number> = {};
  createInterface({ input: child.stderr }).on('line', (line) => {
    stderr = `${stderr}${line}\n`.slice(-4000);
    onLogLine?.(line);
    const { model, maxBatchSize } = parseFields(line);
    if (typeof model === 'string' && typeof maxBatchSize === 'number') batchLimits[model] = maxBatchSize;
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const { event, address } = parseFields(line);
    if (event !== 'ready' || typeof address !== 'string') continue;
    child.stdout.resume();
    return { pid: child.pid ?? 0, address, batchLimits, stop: () => endProcess(child) };
  }
  throw new Error(`${command} ${args.join(' ')} ended before it was ready:\n${stderr}`);
}

/** The fields of a JSON line; empty if the line is not a JSON object. */
function parseFields(line: string): Readonly<Record<string, unknown>> {
  try {
    return Object(JSON.parse(line)) as Record<string, unknown>;
  } catch {
    return {};
  }
}
