/** Measures MLServer with the runtime in mlserver/. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { onCores } from '../support/cores.js';
import { freePort } from '../support/free-port.js';
import { installPeer, type Peer } from '../support/python-packages.js';
import {
  measureOpenInference,
  type OpenInferenceFigures,
  type OpenInferenceOptions,
  type Variant,
} from './open-inference.js';

/** MLServer batches requests, not tiles, so that the tiles per request determine the tiles per batch. */
const VARIANTS: readonly Variant[] = [
  { tilesPerRequest: 1, maxBatchSize: 8, maxBatchTime: 0.005 },
  { tilesPerRequest: 4, maxBatchSize: 2, maxBatchTime: 0.005 },
];

export function measureMlServer(options: OpenInferenceOptions): Promise<OpenInferenceFigures> {
  const peer = installPeer('mlserver');
  return measureOpenInference(options, {
    variants: VARIANTS,
    start: (variant, port, onnx) => start(peer, options, { variant, port, onnx }),
  });
}

async function start(
  peer: Peer,
  { plan }: OpenInferenceOptions,
  { variant, port, onnx }: { readonly variant: Variant; readonly port: number; readonly onnx: string },
): Promise<ChildProcess> {
  const folder = join(peer.work, 'server');
  mkdirSync(folder, { recursive: true });
  const [http, metrics] = [await freePort(), await freePort()];
  const json = (name: string, value: unknown) => writeFileSync(join(folder, name), JSON.stringify(value));
  json('settings.json', {
    host: '127.0.0.1',
    http_port: http,
    grpc_port: port,
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
    parameters: { uri: onnx, extra: { threads: plan.serverCores } },
  });
  const mlserver = join(dirname(peer.python), 'mlserver');
  const [program, args] = onCores(plan.server, mlserver, ['start', folder]);
  return spawn(program, [...args], {
    stdio: 'ignore',
    env: { ...process.env, PYTHONPATH: peer.sources },
  });
}
