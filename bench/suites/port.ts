/**
 * Suite `port`: what one image costs at the port. A server whose engine answers at once is compared with a bare grpc-js
 * server that takes the same requests and sends the same answers, alternately, for every input form; two server
 * processes with one; and a server with one without the Open Inference Protocol, which no call uses.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readBundle } from '../../src/bundle/bundle.js';
import { packageRoot, shippedModels } from '../../src/util/package-root.js';
import { PortClient } from '../port/client.js';
import { type InputForm, inputForms, type RecordedAnswers } from '../port/input-forms.js';
import { startInstant } from '../port/instant-server.js';
import { callTree, type Profile } from '../port/profile.js';
import { threadTime } from '../port/thread-time.js';
import { measureTwoProcesses } from '../port/two-processes.js';
import { measureUnusedProtocol } from '../port/unused-protocol.js';
import { planCores, withCores } from '../support/cores.js';
import { median, spread } from '../support/figures.js';
import type { BenchOptions } from '../support/options.js';
import { type ServerProcess, startProcess } from '../support/server-process.js';
import { phantomPixels } from '../support/workload.js';

const MODEL = 'phantom';
const STREAMS = 8;
/** The input form of the main figure. */
const MAIN_FORM = 'rows8';

interface Run {
  readonly imagesPerSecond: number;
  /** CPU time of the port's thread per image, in ms. */
  readonly portMs: number;
  /** CPU time of the other threads of the server per image, in ms. */
  readonly otherMs: number;
}

export async function benchPort({ quick }: BenchOptions): Promise<Record<string, unknown>> {
  const { geometry } = await readBundle(join(shippedModels(), MODEL, '1'));
  const forms = await inputForms(MODEL, geometry, phantomPixels(geometry.workingSize));
  const plan = planCores();
  return withCores(plan.client, async () => {
    const salad = await startInstant(plan.server);
    const scratch = mkdtempSync(join(tmpdir(), 'salad-port-'));
    const file = join(scratch, 'answers.json');
    let bare: ServerProcess | undefined;
    try {
      writeFileSync(file, JSON.stringify(await record(salad, forms)));
      const program = join(packageRoot(), 'dist/bench/port/grpc-process.js');
      bare = await startProcess(process.execPath, [program, file], plan.server);
      const figures: Record<string, InputFormFigures> = {};
      for (const form of forms) figures[form.name] = await compare(form, salad, bare, quick);
      const mainForm = forms.find(({ name }) => name === MAIN_FORM);
      return {
        model: MODEL,
        streams: STREAMS,
        overGrpcRatio: figures[MAIN_FORM]?.overGrpcRatio,
        inputForms: figures,
        ...(mainForm &&
          (await measureTwoProcesses({ model: MODEL, form: mainForm, cores: plan.server, quick }))),
        unusedOpenInference:
          mainForm && (await measureUnusedProtocol({ form: mainForm, cores: plan.server, quick })),
        profile: mainForm && (await profile(mainForm, join(scratch, 'port.cpuprofile'), plan.server, quick)),
      };
    } finally {
      await Promise.all([salad.stop(), bare?.stop()]);
      rmSync(scratch, { recursive: true });
    }
  });
}

/**
 * The call tree of the port's thread while images arrive in one input form.
 * @param file where the profile is written
 */
async function profile(
  form: InputForm,
  file: string,
  cores: string,
  quick: boolean,
): Promise<readonly string[]> {
  const server = await startInstant(cores, { profile: file });
  try {
    await measure(form, server, quick ? 500 : 5000);
    process.kill(server.pid, 'SIGUSR2');
    await measure(form, server, quick ? 500 : 10_000);
  } finally {
    await server.stop();
  }
  return callTree(JSON.parse(readFileSync(file, 'utf8')) as Profile);
}

async function record(server: ServerProcess, forms: readonly InputForm[]): Promise<RecordedAnswers> {
  const client = new PortClient(server.address);
  try {
    const recorded: Record<string, RecordedAnswers[string]> = {};
    for (const form of forms) {
      const messages = (await client.answersOf(form)).map((answer) => answer.toString('base64'));
      recorded[form.name] = { method: form.method, messages };
    }
    return recorded;
  } finally {
    client.close();
  }
}

interface InputFormFigures {
  readonly overGrpcRatio: number;
  readonly [figure: string]: unknown;
}

async function compare(
  form: InputForm,
  salad: ServerProcess,
  bare: ServerProcess,
  quick: boolean,
): Promise<InputFormFigures> {
  // V8 optimises the code of a server only after thousands of messages.
  for (const server of [salad, bare]) await measure(form, server, quick ? 500 : 6000);
  const runs: { salad: Run; bare: Run }[] = [];
  for (let repeat = 0; repeat < (quick ? 1 : 5); repeat++) {
    const durationMs = quick ? 500 : 3000;
    runs.push({
      salad: await measure(form, salad, durationMs),
      bare: await measure(form, bare, durationMs),
    });
  }
  const of = (pick: (run: (typeof runs)[number]) => number) => median(runs.map(pick));
  const ratios = runs.map((run) => run.salad.portMs / run.bare.portMs);
  return {
    requests: form.requests.length,
    requestBytes: form.requests.reduce((sum, { byteLength }) => sum + byteLength, 0),
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

async function measure(form: InputForm, server: ServerProcess, durationMs: number): Promise<Run> {
  const client = new PortClient(server.address);
  try {
    const before = threadTime(server.pid);
    const { images, ms } = await client.run(form, STREAMS, durationMs);
    const after = threadTime(server.pid);
    const portMs = (after.main - before.main) / images;
    const otherMs = (after.all - before.all) / images - portMs;
    return { imagesPerSecond: (1000 * images) / ms, portMs, otherMs };
  } finally {
    client.close();
  }
}
