/**
 * Suite `peers`: compares salad-serve with other servers, alternately on the same cores: a plain Python server with the
 * same protocol and the same client, and MLServer and Triton with dynamic batching over the Open Inference Protocol,
 * which salad-serve speaks too. All of them run the exported graph, the ONNX file of `models export --onnx`, with
 * onnxruntime's CPU provider. salad-serve runs twice: as shipped, with the search in parts beside the encoder's graph
 * (`salad`), and on the same ONNX bytes as the others (`exportedGraph`), which leaves what the server itself gains.
 * Suite `protocols` compares salad-serve's two protocols.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type LoadResult, runLoad } from '../../clients/load/src/index.js';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { type Bundle, readBundle } from '../../src/bundle/bundle.js';
import { buildOnnx } from '../../src/network/onnx/build.js';
import { packageRoot, shippedModels } from '../../src/util/package-root.js';
import { measureMlServer } from '../peers/mlserver.js';
import type { OpenInferenceFigures } from '../peers/open-inference.js';
import { measureTriton } from '../peers/triton.js';
import { type CorePlan, planCores, withCores } from '../support/cores.js';
import { CpuWindow } from '../support/cpu-window.js';
import { median } from '../support/figures.js';
import type { BenchOptions } from '../support/options.js';
import { generateStubs, installPeer } from '../support/python-packages.js';
import { NO_QUEUE_LIMIT, type ServerProcess, startProcess, startSalad } from '../support/server-process.js';
import { tileWorkload } from '../support/workload.js';

const MODEL = 'phantom';
const STREAMS = [1, 8, 32] as const;
/** One client sends every tile of 32 images as a call of its own; MLServer has no limits of a client. */
const NO_PEER_LIMIT = {
  SALAD_MAX_CONCURRENT_ACQUISITIONS: '8192',
  SALAD_PEER_SHARE_RATIO: '0',
  SALAD_PEER_CALLS_PER_SECOND: '0',
} as const;

interface Run {
  readonly tilesPerSecond: number;
  /** CPU time of the server, which other load on the machine hardly changes. */
  readonly cpuMsPerTile: number;
  readonly tileP99Ms: number;
  readonly acquisitionP99Ms: number;
  readonly failed: number;
}

/** The servers that take turns with one client; `exportedGraph` is salad-serve on the exported graph. */
type ServerName = 'salad' | 'exportedGraph' | 'naivePython';

export async function benchPeers({ quick }: BenchOptions): Promise<Record<string, unknown>> {
  const plan = planCores();
  const bundle = await readBundle(join(shippedModels(), MODEL, '1'));
  const onnx = Buffer.from(buildOnnx(bundle));
  const repeats = quick ? 1 : 5;
  return withCores(plan.client, async () => {
    const servers: Partial<Record<ServerName, ServerProcess>> = {};
    const runs = { salad: createRunLists(), exportedGraph: createRunLists(), naivePython: createRunLists() };
    let mlserver: OpenInferenceFigures;
    let triton: OpenInferenceFigures;
    try {
      const environment = { ...NO_QUEUE_LIMIT, ...NO_PEER_LIMIT };
      const salad = await startSalad({ models: shippedModels(), cores: plan.server, environment });
      servers.salad = salad;
      const exportedGraph = await startExportedGraph(plan, environment);
      servers.exportedGraph = exportedGraph;
      servers.naivePython = await startNaivePython(bundle, onnx, plan);
      for (let repeat = 0; repeat < repeats; repeat++) {
        for (const streams of STREAMS) {
          for (const [name, server] of Object.entries(servers)) {
            runs[name as ServerName].get(streams)?.push(await load(server, bundle, streams, quick));
          }
        }
      }
      const options = { model: MODEL, bundle, onnx, plan, streams: 32, quick, repeats, salad, exportedGraph };
      mlserver = await measureMlServer(options);
      triton = await measureTriton(options);
    } finally {
      for (const server of Object.values(servers)) await server.stop();
    }
    return report(plan, repeats, runs, { mlserver, triton });
  });
}

/** An empty list of runs for each number of streams. */
const createRunLists = () => new Map<number, Run[]>(STREAMS.map((streams) => [streams, []]));

function report(
  plan: CorePlan,
  repeats: number,
  runs: Readonly<Record<ServerName, Map<number, Run[]>>>,
  { mlserver, triton }: { readonly mlserver: OpenInferenceFigures; readonly triton: OpenInferenceFigures },
): Record<string, unknown> {
  const salad = summarise(runs.salad);
  const exportedGraph = summarise(runs.exportedGraph);
  const naivePython = summarise(runs.naivePython);
  const rate = (figures: Record<string, Run>) => figures['32']?.tilesPerSecond ?? Number.NaN;
  const cost = (figures: Record<string, Run>) => figures['32']?.cpuMsPerTile ?? Number.NaN;
  const ahead = (own: Record<string, Run>) => ({
    naivePython: rate(own) / rate(naivePython),
    mlserver: rate(own) / mlserver.best.tilesPerSecond,
    triton: rate(own) / triton.best.tilesPerSecond,
  });
  /** CPU time per tile of the peer divided by that of salad-serve. */
  const cheaper = (own: Record<string, Run>) => ({
    naivePython: cost(naivePython) / cost(own),
    mlserver: mlserver.best.cpuMsPerTile / cost(own),
    triton: triton.best.cpuMsPerTile / cost(own),
  });
  return {
    model: MODEL,
    serverCores: plan.serverCores,
    pinned: plan.pinned,
    repeats,
    salad,
    exportedGraph,
    naivePython,
    mlserver,
    triton,
    openInferenceOverMlserverRatio: ratiosOf(mlserver, 'openInferenceRatio'),
    openInferenceOverTritonRatio: ratiosOf(triton, 'openInferenceRatio'),
    sameGraphOpenInferenceOverMlserverRatio: ratiosOf(mlserver, 'sameGraphRatio'),
    sameGraphOpenInferenceOverTritonRatio: ratiosOf(triton, 'sameGraphRatio'),
    aheadAt32Streams: ahead(salad),
    cheaperAt32Streams: cheaper(salad),
    exportedGraphAheadAt32Streams: ahead(exportedGraph),
    exportedGraphCheaperAt32Streams: cheaper(exportedGraph),
  };
}

/** By tiles per request; both terms are in `variants`. */
function ratiosOf(
  { variants }: OpenInferenceFigures,
  ratio: 'openInferenceRatio' | 'sameGraphRatio',
): Record<string, number> {
  return Object.fromEntries(variants.map((variant) => [variant.tilesPerRequest, variant[ratio]]));
}

function summarise(runs: Map<number, Run[]>): Record<string, Run> {
  return Object.fromEntries(
    [...runs].map(([streams, list]) => {
      const of = (pick: (run: Run) => number) => median(list.map(pick));
      return [
        streams,
        {
          tilesPerSecond: of((run) => run.tilesPerSecond),
          cpuMsPerTile: of((run) => run.cpuMsPerTile),
          tileP99Ms: of((run) => run.tileP99Ms),
          acquisitionP99Ms: of((run) => run.acquisitionP99Ms),
          failed: Math.max(...list.map((run) => run.failed)),
        },
      ];
    }),
  );
}

function startExportedGraph(
  plan: CorePlan,
  environment: Readonly<Record<string, string>>,
): Promise<ServerProcess> {
  const server = join(packageRoot(), 'dist/bench/peers/exported-graph/server.js');
  return startProcess(process.execPath, [server, shippedModels()], plan.server, environment);
}

function startNaivePython(bundle: Bundle, onnx: Uint8Array, plan: CorePlan): Promise<ServerProcess> {
  const peer = installPeer('naive-python');
  const file = join(peer.work, `${MODEL}.onnx`);
  writeFileSync(file, onnx);
  const script = join(peer.sources, 'server.py');
  const args = [script, '--bundle', bundle.directory, '--onnx', file, '--threads', String(plan.serverCores)];
  return startProcess(peer.python, args, plan.server, { PYTHONPATH: generateStubs(peer) });
}

async function load(server: ServerProcess, bundle: Bundle, streams: number, quick: boolean): Promise<Run> {
  const client = new SaladClient(server.address);
  try {
    const [durationMs, warmUpMs] = quick ? [2000, 500] : [5000, 2000];
    const usage = new CpuWindow(server.pid, warmUpMs, durationMs);
    const { acquisitions, tiles }: LoadResult = await runLoad({
      clients: [client],
      kinds: [{ model: { name: MODEL }, workload: tileWorkload(bundle.geometry) }],
      arrivals: { kind: 'streams', count: streams, intervalMs: 0 },
      durationMs,
      warmUpMs,
      timeoutMs: 120_000,
    });
    return {
      tilesPerSecond: tiles.perSecond,
      cpuMsPerTile: (1000 * (await usage.result()).serverCores) / tiles.perSecond,
      tileP99Ms: tiles.p99Ms,
      acquisitionP99Ms: acquisitions.p99Ms,
      failed: acquisitions.failed + acquisitions.refused,
    };
  } finally {
    client.close();
  }
}
