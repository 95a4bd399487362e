/**
 * Measures a server of the Open Inference Protocol, and salad-serve's own, alternately, by the same client with the gRPC
 * stubs of MLServer.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Bundle } from '../../src/bundle/bundle.js';
import { patchCells } from '../../src/engines/batch.js';
import { type CorePlan, onCores } from '../support/cores.js';
import { CpuWindow } from '../support/cpu-window.js';
import { endProcess } from '../support/end-process.js';
import { median } from '../support/figures.js';
import { freePort } from '../support/free-port.js';
import { installPeer, type Peer } from '../support/python-packages.js';

export interface Variant {
  readonly tilesPerRequest: number;
  /** In the unit of the server: requests or tiles. */
  readonly maxBatchSize: number;
  /** Seconds. */
  readonly maxBatchTime: number;
}

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
    /** Tiles per second of salad-serve over the Open Inference Protocol, divided by those of the other server. */
    readonly openInferenceRatio: number;
    /** Of salad-serve on the exported graph, as the other server. */
    readonly sameGraph: ClientFigures;
    readonly sameGraphRatio: number;
  };

export interface OpenInferenceFigures {
  readonly streams: number;
  /** The variant with the most tiles per second, which is the one to compare with. */
  readonly best: VariantFigures;
  readonly variants: readonly VariantFigures[];
}

interface ServerAddress {
  readonly address: string;
  readonly pid: number;
}

export interface OpenInferenceOptions {
  readonly bundle: Bundle;
  /** The exported graph of the bundle. */
  readonly onnx: Uint8Array;
  /** Serves the bundle by the name `model`. */
  readonly salad: ServerAddress;
  /** As `salad`, on the exported graph. */
  readonly exportedGraph: ServerAddress;
  readonly model: string;
  readonly plan: CorePlan;
  readonly streams: number;
  readonly quick: boolean;
  readonly repeats: number;
}

/** A server to compare with; it serves the model `salad` with inputs `tiles` and `cells` and output `scores`. */
export interface OpenInferenceServer {
  readonly variants: readonly Variant[];
  /**
   * @param port of its gRPC service, on 127.0.0.1
   * @param onnx file of the exported graph
   */
  start(variant: Variant, port: number, onnx: string): ChildProcess | Promise<ChildProcess>;
}

export async function measureOpenInference(
  options: OpenInferenceOptions,
  server: OpenInferenceServer,
): Promise<OpenInferenceFigures> {
  const client = installPeer('mlserver');
  writeImage(client, options.bundle);
  const onnx = join(client.work, 'model.onnx');
  writeFileSync(onnx, options.onnx);
  const variants: VariantFigures[] = [];
  for (const variant of server.variants) {
    const runs: ClientFigures[] = [];
    const own: ClientFigures[] = [];
    const same: ClientFigures[] = [];
    const port = await freePort();
    const child = await server.start(variant, port, onnx);
    try {
      const other = { address: `127.0.0.1:${port}`, pid: child.pid ?? 0 };
      for (let repeat = 0; repeat < options.repeats; repeat++) {
        own.push(await runClient(client, options, variant, { ...options.salad, isSalad: true }));
        same.push(await runClient(client, options, variant, { ...options.exportedGraph, isSalad: true }));
        runs.push(await runClient(client, options, variant, { ...other, isSalad: false }));
      }
    } finally {
      await endProcess(child);
    }
    const [figures, openInference, sameGraph] = [summarise(runs), summarise(own), summarise(same)];
    const ratioOf = ({ tilesPerSecond }: ClientFigures) => tilesPerSecond / figures.tilesPerSecond;
    variants.push({
      ...{ ...variant, ...figures, openInference, openInferenceRatio: ratioOf(openInference) },
      ...{ sameGraph, sameGraphRatio: ratioOf(sameGraph) },
    });
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

/** Writes an image of golden tiles with their halos, which a client of a tile service has to send. */
function writeImage({ work: folder }: Peer, bundle: Bundle): void {
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
  { bundle, model, plan, streams, quick }: OpenInferenceOptions,
  { tilesPerRequest }: Variant,
  { address, pid, isSalad }: ServerAddress & { readonly isSalad: boolean },
): Promise<ClientFigures> {
  const folder = peer.work;
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
    join(folder, isSalad ? 'positions.bin' : 'cells.bin'),
    ...['--server', isSalad ? 'salad' : 'other', '--model', isSalad ? model : 'salad'],
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
