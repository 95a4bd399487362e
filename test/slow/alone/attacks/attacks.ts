/** Starts attackers and a good client in Python, and limits the memory of a server. */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { root } from '../../../support/root.js';

const sources = join(root, 'test/slow/alone/attacks/clients');
const cache = join(root, '.cache/attacks');
const python = join(cache, 'environment/bin/python');
const stubs = join(cache, 'stubs');

/** Installs the packages of clients/requirements.txt from PyPI unless they are installed, and generates stubs. */
export function installClients(): void {
  const requirements = join(sources, 'requirements.txt');
  const pinned = readFileSync(requirements, 'utf8');
  const stamp = join(cache, 'environment/.installed');
  const run = (command: string, args: readonly string[]) =>
    execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== pinned) {
    mkdirSync(cache, { recursive: true });
    run('python3', ['-m', 'venv', join(cache, 'environment')]);
    run(python, ['-m', 'pip', 'install', '--quiet', '-r', requirements]);
    writeFileSync(stamp, pinned);
  }
  mkdirSync(stubs, { recursive: true });
  const proto = join(root, 'proto');
  const files = ['types', 'anomaly_scoring'].map((name) => join(proto, 'salad/v1', `${name}.proto`));
  run(python, [
    '-m',
    'grpc_tools.protoc',
    `-I${proto}`,
    `--python_out=${stubs}`,
    `--grpc_python_out=${stubs}`,
    ...files,
  ]);
}

function startPython(script: string, args: readonly string[]): ChildProcessWithoutNullStreams {
  const environment = { ...process.env, PYTHONPATH: stubs, PYTHONDONTWRITEBYTECODE: '1' };
  const child = spawn(python, [join(sources, script), ...args], { env: environment });
  child.stderr.resume();
  child.stdin.on('error', () => {});
  return child;
}

/** Runs one attack to its end. @returns the server's answers to the attacker, counted by the script */
export async function attack(
  name: string,
  address: string,
  { source, seconds }: { readonly source: string; readonly seconds: number },
): Promise<Record<string, unknown>> {
  const child = startPython('attacks.py', [name, address, '--source', source, '--seconds', String(seconds)]);
  const lines = createInterface({ input: child.stdout });
  const closed = once(child, 'close');
  for await (const line of lines) {
    await closed;
    return JSON.parse(line) as Record<string, unknown>;
  }
  throw new Error(`the attack ${name} ended without a report`);
}

/** Results of a good client since its last report. */
export interface GoodReport {
  readonly scored: number;
  /** Answers that differ from the first in any score. */
  readonly wrong: number;
  readonly retried: number;
  readonly failures: readonly string[];
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
}

export interface GoodClient {
  /** Result of the first image, before any attack. */
  readonly first: { readonly patches: number; readonly score: number };
  /** Waits until the current image is scored. */
  report(): Promise<GoodReport>;
  stop(): void;
}

/** Starts the good client; resolves once its first image is scored. */
export async function startGoodClient(address: string): Promise<GoodClient> {
  const child = startPython('good_client.py', [address]);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async <T>(): Promise<T> => {
    const { value, done } = await lines.next();
    if (done) throw new Error('the good client has ended before its report');
    return JSON.parse(value) as T;
  };
  return {
    first: await next<GoodClient['first']>(),
    report() {
      child.stdin.write('report\n');
      return next<GoodReport>();
    },
    stop() {
      child.stdin.end();
    },
  };
}

export interface MemoryLimit {
  /** How the limit is enforced, for the report. */
  readonly by: string;
  /** Command that starts the program in its further arguments under the limit. */
  readonly under: readonly string[];
  /** Kills a process above the limit where the kernel does not enforce it. */
  check(pid: number, rssBytes: number): void;
  remove(): void;
}

const CGROUP_V1 = '/sys/fs/cgroup/memory';
const CGROUP_V2 = '/sys/fs/cgroup';

/** Uses a control group where this user may create one, else repeated checks of the process's RSS. */
export function limitMemory(bytes: number): MemoryLimit {
  const name = `salad-attacks-${process.pid}`;
  for (const [folder, file] of [
    [join(CGROUP_V1, name), 'memory.limit_in_bytes'],
    [join(CGROUP_V2, name), 'memory.max'],
  ] as const) {
    try {
      if (!existsSync(resolve(folder, '../cgroup.procs'))) continue;
      mkdirSync(folder);
      writeFileSync(join(folder, file), String(bytes));
      return {
        by: `control group ${file}`,
        under: ['sh', '-c', `echo $$ > ${join(folder, 'cgroup.procs')} && exec "$@"`, 'sh'],
        check() {},
        remove: () => rmdirSync(folder),
      };
    } catch {
      if (existsSync(folder)) rmdirSync(folder);
    }
  }
  return {
    by: 'a check of its RSS every 20 ms',
    under: [],
    check(pid, rssBytes) {
      if (rssBytes > bytes) process.kill(pid, 'SIGKILL');
    },
    remove() {},
  };
}
