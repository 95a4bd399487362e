/** The built `salad-modality` command, in processes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';
import type { Finished } from '../programs/salad.js';
import { root } from '../root.js';

const main = join(root, 'dist/clients/modality/src/main.js');

/** Writes settings of a gateway with its inbox in `folder`. @returns the path */
export function writeSettings(folder: string, settings: Readonly<Record<string, unknown>> = {}): string {
  const file = join(folder, 'gateway.yaml');
  const dicom = { listen: '127.0.0.1:0', callers: [{ aeTitle: 'DX1' }] };
  writeFileSync(file, stringify({ inbox: 'inbox', keepFreeMib: 1, dicom, ...settings }));
  return file;
}

/** A command of the program: Node and its arguments. */
export function modalityCommand(...args: readonly string[]): readonly string[] {
  return [process.execPath, main, ...args];
}

/** Runs a command to its end. */
export async function modality(...args: readonly string[]): Promise<Finished> {
  const child = spawn(process.execPath, [main, ...args], { cwd: root });
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text;
    });
  }
  const code = await new Promise<number | null>((done) => child.on('close', done));
  const lines = texts.stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { code, ...texts, lines };
}

/** The program `serve` and its arguments. */
export function serveCommand(settingsFile: string): readonly string[] {
  return modalityCommand('serve', '--config', settingsFile, '--json');
}

export interface GatewayProcess {
  readonly process: ChildProcess;
  /** Of the DICOM port. */
  readonly port: number;
  /** HOST:PORT of the STOW-RS port; null without one. */
  readonly stow: string | null;
  /** HOST:PORT of the port of operations; null without one. */
  readonly operations: string | null;
  /** Everything on stderr so far: the log. */
  log(): string;
  /** Sends the signal to the process and waits for its end. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/**
 * Starts `salad-modality serve` and waits until it is ready.
 * @param under a program and its arguments that start it
 * @param environment variables beside those of this process
 */
export async function startGatewayProcess(
  settingsFile: string,
  under: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Promise<GatewayProcess> {
  const [program, ...args] = [...under, ...serveCommand(settingsFile)];
  const env = { ...process.env, UV_USE_IO_URING: '0', ...environment };
  const child = spawn(program!, args, { cwd: root, env });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const exited = new Promise<number | null>((done) => child.on('close', done));
  const first = await new Promise<string>((done, fail) => {
    createInterface({ input: child.stdout }).once('line', done);
    void exited.then((code) => fail(new Error(`salad-modality ended with exit code ${code}: ${log}`)));
  });
  const { dicom, stow, operations } = JSON.parse(first) as {
    readonly dicom: string | null;
    readonly stow: string | null;
    readonly operations: string | null;
  };
  return {
    process: child,
    stow,
    operations,
    port: Number(dicom?.slice(dicom.lastIndexOf(':') + 1)),
    log: () => log,
    async stop(signal = 'SIGTERM') {
      child.kill(signal);
      return exited;
    },
  };
}
