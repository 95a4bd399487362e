/**
 * Measures MLServer with the runtime in mlserver/, and salad-serve's own Open Inference Protocol, alternately, by the
 * same client with the gRPC stubs of MLServer.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Bundle } from '../../src/bundle/bundle.js';
import { patchCells } from '../../src/engines/batch.js';
import { type CorePlan, onCores } from '../support/cores.js';
import { CpuWindow } from '../support/cpu-window.js';
import { median } from '../support/figures.js';
import { installPeer, type Peer } from '../support/python-packages.js';

/** MLServer batches requests, not tiles, so that the tiles per request determine the tiles per batch. */
const VARIANTS = [
  { tilesPerRequest: 1, maxBatchSize: 8, maxBatchTime: 0.005 },
  { tilesPerRequest: 4, maxBatchSize: 2, maxBatchTime: 0.005 },
] as const;

type Variant = (typeof VARIANTS)[number];

interface ClientFigures {
  readonly tilesPerSecond: number;
  readonly cpuMsPerTile: number;
  readonly acquisitionP50Ms: number;
  readonly acquisitionP99Ms: number;
  readonly failed: number;
  /** Status of the first failure. */
  readonly failure: string | null;
}

type VariantFigures = ClientFigures &
  Variant & {
    /** Of salad-serve's model NAME.tiles, for the same requests. */
    readonly openInference: ClientFigures;
    /** Tiles per second of salad-serve over the Open Inference Protocol, divided by those of MLServer. */
    readonly openInferenceRatio: number;
  };

export interface MlServerFigures {
  readonly streams: number;
  /** The variant with the most tiles per second, which is the one to compare with. */
  readonly best: VariantFigures;
  readonly variants: readonly VariantFigures[];
}

export interface MlServerOptions {
  readonly bundle: Bundle;
  readonly onnx: Uint8Array;
  /** Serves the bundle by the name `model`. */
  readonly salad: { readonly address: string; readonly pid: number };
  readonly model: string;
  readonly plan: CorePlan;
  readonly streams: number;
  readonly quick: boolean;
  readonly repeats: number;
}

export async function measureMlServer(options: MlServerOptions): Promise<MlServerFigures> {
  const peer = installPeer('mlserver');
  const variants: VariantFigures[] = [];
  for (const variant of VARIANTS) {
    const runs: ClientFigures[] = [];
    const own: ClientFigures[] = [];
    await withServer(peer, options, variant, async (address, pid) => {
      for (let repeat = 0; repeat < options.repeats; repeat++) {
        own.push(await runClient(peer, options, variant, { ...options.salad, server: 'salad' }));
        runs.push(await runClient(peer, options, variant, { address, pid, server: 'mlserver' }));
      }
    });
    const [figures, openInference] = [summarise(runs), summarise(own)];
    const openInferenceRatio = openInference.tilesPerSecond / figures.tilesPerSecond;
    variants.push({ ...variant, ...figures, openInference, openInferenceRatio });
  }
  const best = variants.reduce((a, b) => (b.tilesPerSecond > a.tilesPerSecond ? b : a));
  return { streams: options.streams, best, variants };
}

function summarise(runs: readonly ClientFigures[]): ClientFigures {
  const of = (pick: (run: ClientFigures) => number) => median(runs.map(pick));
  return {
    tilesPerSecond: of((run) => run.tilesPerSecond),
    cpuMsPerTile: of((run) => run.cpuMsPerTile),
    acquisitionP50Ms: of((run) => run.acquisitionP50Ms),
    acquisitionP99Ms: of((run) => run.acquisitionP99Ms),
    failed: Math.max(...runs.map((run) => run.failed)),
    failure: runs.find((run) => run.failure !== null)?.failure ?? null,
  };
}

async function withServer(
  peer: Peer,
  { bundle, onnx, plan }: MlServerOptions,
  variant: Variant,
  work: (address: string, pid: number) => Promise<void>,
): Promise<void> {
  const folder = join(peer.work, 'server');
  mkdirSync(folder, { recursive: true });
  const uri = join(folder, 'model.onnx');
  writeFileSync(uri, onnx);
  writeImage(folder, bundle);
  const [http, grpc, metrics] = [await freePort(), await freePort(), await freePort()];
  const json = (name: string, value: unknown) => writeFileSync(join(folder, name), JSON.stringify(value));
  json('settings.json', {
    host: '127.0.0.1',
    http_port: http,
    grpc_port: grpc,
    metrics_port: metrics,
    // The model runs in the server's process: with a pool of workers MLServer 1.7 was slower on the same cores.
    parallel_workers: 0,
    debug: false,
  });
  json('model-settings.json', {
    name: 'salad',
    implementation: 'salad_runtime.SaladRuntime',
    max_batch_size: variant.maxBatchSize,
    max_batch_time: variant.maxBatchTime,
    parameters: { uri, extra: { threads: plan.serverCores } },
  });
  const mlserver = join(dirname(peer.python), 'mlserver');
  const [program, args] = onCores(plan.server, mlserver, ['start', folder]);
  const child = spawn(program, [...args], {
    stdio: 'ignore',
    env: { ...process.env, PYTHONPATH: peer.sources },
  });
  try {
    await work(`127.0.0.1:${grpc}`, child.pid ?? 0);
  } finally {
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
    if (child.exitCode === null) await exited;
    clearTimeout(timer);
  }
}

/** Writes an image of golden tiles with their halos, which a client of a tile service has to send. */
function writeImage(folder: string, bundle: Bundle): void {
  const { golden, geometry } = bundle;
  const count = geometry.tileCount;
  const bytes = geometry.tilePixels;
  const pixels = new Uint8Array(count * bytes);
  const positions = new Int32Array(2 * count);
  for (let tile = 0; tile < count; tile++) {
    const source = tile % (golden.positions.length / 2);
    pixels.set(golden.pixels.subarray(source * bytes, (source + 1) * bytes), tile * bytes);
    positions.set(golden.positions.subarray(2 * source, 2 * source + 2), 2 * tile);
  }
  const cells = BigInt64Array.from(patchCells(bundle, { count, pixels, positions }), BigInt);
  writeFileSync(join(folder, 'tiles.bin'), pixels);
  writeFileSync(join(folder, 'cells.bin'), new Uint8Array(cells.buffer));
  writeFileSync(join(folder, 'positions.bin'), new Uint8Array(positions.buffer));
}

/** Runs the client in a separate process, on the cores of the client. */
async function runClient(
  peer: Peer,
  { bundle, model, plan, streams, quick }: MlServerOptions,
  { tilesPerRequest }: Variant,
  {
    address,
    pid,
    server,
  }: { readonly address: string; readonly pid: number; readonly server: 'mlserver' | 'salad' },
): Promise<ClientFigures> {
  const folder = join(peer.work, 'server');
  const numbers = {
    'tile-height': bundle.geometry.tileHeight,
    'tile-width': bundle.geometry.tileWidth,
    patches: bundle.geometry.patchesPerTile,
    streams,
    'tiles-per-request': tilesPerRequest,
    duration: quick ? 2 : 5,
    'warm-up': quick ? 0.5 : 2,
  };
  const [program, args] = onCores(plan.client, peer.python, [
    join(peer.sources, 'client.py'),
    address,
    join(folder, 'tiles.bin'),
    join(folder, server === 'salad' ? 'positions.bin' : 'cells.bin'),
    ...['--server', server, '--model', server === 'salad' ? model : 'salad'],
    ...Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, String(value)]),
  ]);
  const client = spawn(program, [...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: client.stdout })[Symbol.asyncIterator]();
  const nextLine = async () => String((await lines.next()).value);
  // The client prints a line when its measured time begins, because a server may still be loading before.
  await nextLine();
  const usage = new CpuWindow(pid, 0, 1000 * numbers.duration);
  const figures = JSON.parse(await nextLine()) as Omit<ClientFigures, 'cpuMsPerTile'>;
  const { serverCores } = await usage.result();
  return { ...figures, cpuMsPerTile: (1000 * serverCores) / figures.tilesPerSecond };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
