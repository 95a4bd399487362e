/**
 * Suite `port`: what one image costs at the port. A server whose engine answers at once is compared with a bare grpc-js
 * server that takes the same requests and sends the same answers, alternately, for every door; and two server processes
 * with one.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readBundle } from '../../src/bundle/bundle.js';
import { packageRoot, shippedModels } from '../../src/util/package-root.js';
import { PortClient } from '../port/client.js';
import { type Door, doorsOf, type RecordedAnswers } from '../port/doors.js';
import { callTree, type Profile } from '../port/profile.js';
import { threadTime } from '../port/thread-time.js';
import { measureTwoProcesses } from '../port/two-processes.js';
import { planCores, withCores } from '../support/cores.js';
import { median, spread } from '../support/figures.js';
import type { BenchOptions } from '../support/options.js';
import { NO_QUEUE_LIMIT, type ServerProcess, startProcess } from '../support/server-process.js';
import { phantomPixels } from '../support/workload.js';

const MODEL = 'phantom';
const STREAMS = 8;
/** The door of the headline figure. */
const HEADLINE = 'rows8';

interface Run {
  readonly imagesPerSecond: number;
  /** CPU time of the port's thread per image, in ms. */
  readonly portMs: number;
  /** CPU time of the other threads of the server per image, in ms. */
  readonly otherMs: number;
}

export async function benchPort({ quick }: BenchOptions): Promise<Record<string, unknown>> {
  const { geometry } = await readBundle(join(shippedModels(), MODEL, '1'));
  const doors = await doorsOf(MODEL, geometry, phantomPixels(geometry.workingSize));
  const plan = planCores();
  return withCores(plan.client, async () => {
    const salad = await startInstant(plan.server);
    const scratch = mkdtempSync(join(tmpdir(), 'salad-port-'));
    const file = join(scratch, 'answers.json');
    let bare: ServerProcess | undefined;
    try {
      writeFileSync(file, JSON.stringify(await record(salad, doors)));
      bare = await startProcess(process.execPath, [program('grpc-process.js'), file], plan.server);
      const figures: Record<string, DoorFigures> = {};
      for (const door of doors) figures[door.name] = await compare(door, salad, bare, quick);
      const headline = doors.find(({ name }) => name === HEADLINE);
      return {
        model: MODEL,
        streams: STREAMS,
        overGrpcRatio: figures[HEADLINE]?.overGrpcRatio,
        doors: figures,
        ...(headline &&
          (await measureTwoProcesses({ model: MODEL, door: headline, cores: plan.server, quick }))),
        profile: headline && (await profile(headline, join(scratch, 'port.cpuprofile'), plan.server, quick)),
      };
    } finally {
      await Promise.all([salad.stop(), bare?.stop()]);
      rmSync(scratch, { recursive: true });
    }
  });
}

const program = (name: string) => join(packageRoot(), 'dist/bench/port', name);

/** @param profile file for a CPU profile; absent: none */
function startInstant(cores: string, profile?: string): Promise<ServerProcess> {
  const args = [program('salad-process.js'), shippedModels(), ...(profile === undefined ? [] : [profile])];
  return startProcess(process.execPath, args, cores, { ...NO_QUEUE_LIMIT, SALAD_LOG_LEVEL: 'warn' });
}

/** The call tree of the port's thread while images arrive at one door. @param file where the profile is written */
async function profile(door: Door, file: string, cores: string, quick: boolean): Promise<readonly string[]> {
  const server = await startInstant(cores, file);
  try {
    await measure(door, server, quick ? 500 : 5000);
    process.kill(server.pid, 'SIGUSR2');
    await measure(door, server, quick ? 500 : 10_000);
  } finally {
    await server.stop();
  }
  return callTree(JSON.parse(readFileSync(file, 'utf8')) as Profile);
}

async function record(server: ServerProcess, doors: readonly Door[]): Promise<RecordedAnswers> {
  const client = new PortClient(server.address);
  try {
    const recorded: Record<string, RecordedAnswers[string]> = {};
    for (const door of doors) {
      const messages = (await client.answersOf(door)).map((answer) => answer.toString('base64'));
      recorded[door.name] = { method: door.method, messages };
    }
    return recorded;
  } finally {
    client.close();
  }
}

interface DoorFigures {
  readonly overGrpcRatio: number;
  readonly [figure: string]: unknown;
}

async function compare(
  door: Door,
  salad: ServerProcess,
  bare: ServerProcess,
  quick: boolean,
): Promise<DoorFigures> {
  // V8 optimises the code of a server only after thousands of messages.
  for (const server of [salad, bare]) await measure(door, server, quick ? 500 : 6000);
  const runs: { salad: Run; bare: Run }[] = [];
  for (let repeat = 0; repeat < (quick ? 1 : 5); repeat++) {
    const durationMs = quick ? 500 : 3000;
    runs.push({
      salad: await measure(door, salad, durationMs),
      bare: await measure(door, bare, durationMs),
    });
  }
  const of = (pick: (run: (typeof runs)[number]) => number) => median(runs.map(pick));
  const ratios = runs.map((run) => run.salad.portMs / run.bare.portMs);
  return {
    requests: door.requests.length,
    requestBytes: door.requests.reduce((sum, { byteLength }) => sum + byteLength, 0),
    salad: {
      imagesPerSecond: of((run) => run.salad.imagesPerSecond),
      portMs: of((run) => run.salad.portMs),
      otherMs: of((run) => run.salad.otherMs),
    },
    grpc: {
      imagesPerSecond: of((run) => run.bare.imagesPerSecond),
      portMs: of((run) => run.bare.portMs),
      otherMs: of((run) => run.bare.otherMs),
    },
    /** CPU time of the port's thread per image, over that of the bare server. */
    overGrpcRatio: median(ratios),
    overGrpcRatioRange: spread(ratios),
  };
}

async function measure(door: Door, server: ServerProcess, durationMs: number): Promise<Run> {
  const client = new PortClient(server.address);
  try {
    const before = threadTime(server.pid);
    const { images, ms } = await client.run(door, STREAMS, durationMs);
    const after = threadTime(server.pid);
    const portMs = (after.main - before.main) / images;
    const otherMs = (after.all - before.all) / images - portMs;
    return { imagesPerSecond: (1000 * images) / ms, portMs, otherMs };
  } finally {
    client.close();
  }
}
