/** Runs the built image in podman, as configured by scripts/container/tools.mjs; needs root on Linux. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../root.js';

const execute = promisify(execFile);

export const IMAGE = 'localhost/salad-serve:cpu';
export const MODALITY_IMAGE = 'localhost/salad-serve:modality';

/** Runs podman. @returns its stdout */
export async function podman(...args: readonly string[]): Promise<string> {
  return (await run(args)).stdout.trim();
}

/** The output of a container, stdout and then stderr. */
export async function logOf(container: string): Promise<string> {
  const { stdout, stderr } = await run(['logs', container]);
  return stdout + stderr;
}

function run(args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  const env = { ...process.env, CONTAINERS_CONF: join(root, '.cache/container/containers.conf') };
  return execute('podman', args, { env, maxBuffer: 64 * 1024 * 1024 });
}

/** Waits for the JSON line with `"event":"ready"` in the log of a container; rejects if the container ends before. */
export async function readyLine(container: string): Promise<Record<string, unknown>> {
  for (;;) {
    const log = await logOf(container);
    const line = log.split('\n').find((each) => each.includes('"event":"ready"'));
    if (line !== undefined) return JSON.parse(line) as Record<string, unknown>;
    if ((await stateOf(container)).running === 'false') throw new Error(`${container} ended:\n${log}`);
    await new Promise((done) => setTimeout(done, 200));
  }
}

export async function stateOf(container: string): Promise<{ running: string; exitCode: number }> {
  const text = await podman('inspect', '--format', '{{.State.Running}} {{.State.ExitCode}}', container);
  const [running = '', code = ''] = text.split(' ');
  return { running, exitCode: Number(code) };
}
