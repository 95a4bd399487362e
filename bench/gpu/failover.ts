/** Part `failover`: the WebGPU device is destroyed under load; another engine takes over, and webgpu serves again. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type ServerProcess, startProcess } from '../support/server-process.js';
import { runForJson, runProgram, SALAD } from './child.js';
import type { Figures } from './report.js';
import type { Part, RunContext } from './run.js';
import { oneBundle } from './serve.js';

/** Messages of the server's log, in the order in which they come. */
const [STANDBY, LOSS, TAKE_OVER, FAILBACK] = [
  'the standby engine is ready',
  'an engine was lost',
  'an engine took over',
  'failback complete',
] as const;

/** Time before webgpu is tried again: the acquisitions that run at the loss have ended by then. */
const [BACK_OFF_MS, BACK_OFF_QUICK_MS] = [5000, 2000];
/** Interval at which the log is looked through. */
const POLL_MS = 50;

export const failover: Part = {
  name: 'failover',
  seconds: 120,
  async run(context, record, signal) {
    const bundle = context.bundles.includes('phantom/1') ? 'phantom/1' : context.bundles[0]!;
    const folder = mkdtempSync(join(tmpdir(), 'salad-gpu-'));
    const log: Figures[] = [];
    try {
      const image = await writePhantom(context, folder, signal);
      const server = await startLosingServer(context, oneBundle(context, bundle, folder), log, signal);
      try {
        await measure({ context, record, signal, server, image, log, model: dirname(bundle) });
      } finally {
        await server.stop();
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

interface Scene {
  readonly context: RunContext;
  readonly record: (figures: Figures) => void;
  readonly signal: AbortSignal;
  readonly server: ServerProcess;
  /** A PNG file. */
  readonly image: string;
  /** Lines of the server's log so far. */
  readonly log: readonly Figures[];
  readonly model: string;
}

async function measure(scene: Scene): Promise<void> {
  const { record, server } = scene;
  record({ standby: await message(scene, STANDBY) });
  const before = await scoreOf(scene);
  record({ before });
  const load = loadOf(scene);
  // Awaited below, unless a message of the log does not come.
  load.catch(() => {});
  // In the middle of the load: acquisitions are paced, so that some are always half sent.
  await sleep(1000);
  process.kill(server.pid, 'SIGUSR2');
  record({ lost: await message(scene, LOSS), tookOver: await message(scene, TAKE_OVER) });
  record({ load: await load });
  const after = await scoreOf(scene);
  record({ after });
  record({ failback: await message(scene, FAILBACK) });
  const again = await scoreOf(scene);
  record({
    again,
    maxAbsScoreDifference: Math.max(
      Math.abs(Number(after['imageScore']) - Number(before['imageScore'])),
      Math.abs(Number(again['imageScore']) - Number(before['imageScore'])),
    ),
  });
}

async function writePhantom(context: RunContext, folder: string, signal: AbortSignal): Promise<string> {
  const args = ['--count', '1', '--seed', '7', '--out', join(folder, 'images')];
  await runProgram(context, [SALAD, 'phantom', ...args], signal);
  const images = join(folder, 'images/normal');
  return join(images, readdirSync(images)[0]!);
}

function startLosingServer(
  context: RunContext,
  models: string,
  log: Figures[],
  signal: AbortSignal,
): Promise<ServerProcess> {
  const program = fileURLToPath(new URL('./losing-server.js', import.meta.url));
  const environment = {
    SALAD_ENGINE_STANDBY_DELAY_MS: '10',
    SALAD_ENGINE_BACK_OFF_MS: String(context.quick ? BACK_OFF_QUICK_MS : BACK_OFF_MS),
  };
  const onLogLine = (line: string) => {
    context.log(`${line}\n`);
    try {
      log.push(JSON.parse(line) as Figures);
    } catch {
      // Native libraries write plain lines.
    }
  };
  return startProcess(process.execPath, [program, models], '', environment, { signal, onLogLine });
}

/** Waits for a message of the server's log. @throws Error at the end of the part's time */
async function message({ log, signal }: Scene, text: string): Promise<Figures> {
  for (;;) {
    const line = log.find(({ msg }) => String(msg).includes(text));
    if (line !== undefined) {
      const { time: _time, pid: _pid, hostname: _hostname, name: _name, level: _level, ...fields } = line;
      return fields;
    }
    if (signal.aborted) throw new Error(`the log has no line "${text}"`);
    await sleep(POLL_MS);
  }
}

/** Score and engines of one image through the port. */
async function scoreOf({ context, server, image, model, signal }: Scene): Promise<Figures> {
  const args = [SALAD, 'score', image, '--target', server.address, '--model', model, '--json'];
  const { imageScore, decision, engines, coverage } = await runForJson(context, args, signal);
  return { imageScore, decision, engines, coverage };
}

async function loadOf({ context, server, model, signal }: Scene): Promise<Figures> {
  const [streams, duration, acquisitionMs] = context.quick ? ['2', '2', '500'] : ['16', '4', '1000'];
  const load = [
    ...['load', '--target', server.address, '--model', model, '--mode', 'rows', '--json'],
    ...['--streams', streams, '--duration', duration, '--warm-up', '0', '--acquisition-ms', acquisitionMs],
  ];
  const { acquisitions } = await runForJson(context, [SALAD, ...load], signal);
  return acquisitions as Figures;
}
