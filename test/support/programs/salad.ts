import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { root } from '../root.js';

const builtMain = 'dist/src/main.js';
const main = join(root, builtMain);

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** stdout as JSON Lines. */
  readonly lines: readonly Record<string, unknown>[];
}

/** Runs the built `salad` command in a process, to its end. */
export function salad(...args: readonly string[]): Promise<Finished> {
  return saladUnder({}, ...args);
}

/** Like `salad`, with environment variables in addition to those of this process. */
export async function saladUnder(
  environment: Readonly<Record<string, string>>,
  ...args: readonly string[]
): Promise<Finished> {
  const child = spawn(process.execPath, [main, ...args], {
    cwd: root,
    env: { ...process.env, ...environment },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((done) => child.on('close', done));
  const lines = stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { code, stdout, stderr, lines };
}

export interface ServeProcess {
  readonly ready: Record<string, unknown>;
  readonly address: string;
  readonly process: ChildProcessWithoutNullStreams;
  /** Sends the signal and waits for the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Starts `salad serve` on a free loopback port and waits until it is ready. */
export async function startServe(...args: readonly string[]): Promise<ServeProcess> {
  return startServeUnder({}, ...args);
}

interface ServeSurroundings {
  readonly nodeFlags?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** A program and its arguments that start what follows them, such as one that limits memory. */
  readonly under?: readonly string[];
}

/** As `startServe`, with flags for Node itself, or variables beside those of this process. */
export async function startServeUnder(
  surroundings: ServeSurroundings,
  ...args: readonly string[]
): Promise<ServeProcess> {
  return startServeFrom(root, surroundings, ...args);
}

/**
 * As `startServe`: one worker of `onnx`, so that the clients have the other core, and these settings beside a silent log.
 * Writes them into the models folder.
 */
export async function startServeWith(
  models: string,
  settings: Readonly<Record<string, unknown>>,
  nodeFlags: readonly string[] = [],
): Promise<ServeProcess> {
  const config = join(models, 'config.yaml');
  writeFileSync(config, JSON.stringify({ logLevel: 'silent', ...settings }));
  const engine = ['--engine', 'onnx', '--workers', '1'];
  return startServeUnder({ nodeFlags }, '--models', models, ...engine, '--config', config);
}

/** As `startServeUnder`, of another built checkout. */
export async function startServeFrom(
  checkout: string,
  { nodeFlags = [], environment = {}, under = [] }: ServeSurroundings,
  ...args: readonly string[]
): Promise<ServeProcess> {
  const serve = [join(checkout, builtMain), 'serve', '--listen', '127.0.0.1:0', '--json', ...args];
  const [program, ...programArgs] = [...under, process.execPath, ...nodeFlags, ...serve];
  const child = spawn(
    program!,
    programArgs,
    // No second engine: it would come while memory is watched.
    { cwd: checkout, env: { ...process.env, SALAD_ENGINE_STANDBY_DELAY_MS: '0', ...environment } },
  );
  child.stderr.resume();
  const exited = new Promise<number | null>((done) => child.on('close', done));
  const first = await new Promise<string>((done, fail) => {
    createInterface({ input: child.stdout }).once('line', done);
    void exited.then((code) =>
      fail(new Error(`salad serve ended with exit code ${code} before it was ready`)),
    );
  });
  const ready = JSON.parse(first) as Record<string, unknown>;
  return {
    ready,
    address: String(ready['address']),
    process: child,
    async stop(signal = 'SIGTERM') {
      child.kill(signal);
      return exited;
    },
  };
}
