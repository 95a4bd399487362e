/**
 * Measures Triton Inference Server with its Python backend and dynamic batching. The wheel of nvidia-pytriton has the
 * server's program and the backend; the rest of that package is not used.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onCores } from '../support/cores.js';
import { installPeer, type Peer } from '../support/python-packages.js';
import {
  measureOpenInference,
  type OpenInferenceFigures,
  type OpenInferenceOptions,
  type Variant,
} from './open-inference.js';

/** Triton batches the tiles of all requests. */
const VARIANTS: readonly Variant[] = [
  { tilesPerRequest: 1, maxBatchSize: 8, maxBatchTime: 0.005 },
  { tilesPerRequest: 4, maxBatchSize: 8, maxBatchTime: 0.005 },
];

export function measureTriton(options: OpenInferenceOptions): Promise<OpenInferenceFigures> {
  const peer = installPeer('triton');
  const packages = run(peer, 'import sysconfig; print(sysconfig.get_path("purelib"))');
  const files = join(packages, 'pytriton/tritonserver');
  const installed = { packages, files, backends: copyBackend(peer, files) };
  return measureOpenInference(options, {
    variants: VARIANTS,
    start: (variant, port, onnx) =>
      start(installed, options, port, writeRepository(peer, options, variant, onnx)),
  });
}

/** Folders. */
interface Installed {
  readonly packages: string;
  /** Of the server. */
  readonly files: string;
  readonly backends: string;
}

function start(
  { packages, files, backends }: Installed,
  { plan }: OpenInferenceOptions,
  port: number,
  repository: string,
): ChildProcess {
  const [program, args] = onCores(plan.server, join(files, 'bin/tritonserver'), [
    `--model-repository=${repository}`,
    `--backend-directory=${backends}`,
    ...['--grpc-address=127.0.0.1', `--grpc-port=${port}`, '--allow-http=false', '--allow-metrics=false'],
  ]);
  return spawn(program, [...args], {
    stdio: 'ignore',
    env: {
      ...process.env,
      LD_LIBRARY_PATH: join(packages, 'nvidia_pytriton.libs'),
      PEER_PACKAGES: packages,
      // The backend links the system's libpython, which must not read the standard library of another Python.
      PYTHONHOME: '/usr',
    },
  });
}

function run(peer: Peer, script: string): string {
  return execFileSync(peer.python, ['-c', script], { encoding: 'utf8' }).trim();
}

/** The backend needs the program for this version of Python beside its library. @returns the folder of backends */
function copyBackend(peer: Peer, files: string): string {
  const backends = join(peer.work, 'backends');
  rmSync(backends, { recursive: true, force: true });
  cpSync(join(files, 'backends'), backends, { recursive: true });
  const version = run(peer, 'import sys; print("%d.%d" % sys.version_info[:2])');
  const stub = 'triton_python_backend_stub';
  copyFileSync(join(files, 'python_backend_stubs', version, stub), join(backends, 'python', stub));
  chmodSync(join(backends, 'python', stub), 0o755);
  return backends;
}

function writeRepository(
  peer: Peer,
  { bundle, plan }: OpenInferenceOptions,
  { maxBatchSize, maxBatchTime }: Variant,
  onnx: string,
): string {
  const repository = join(peer.work, 'models');
  mkdirSync(join(repository, 'salad/1'), { recursive: true });
  copyFileSync(join(peer.sources, 'model.py'), join(repository, 'salad/1/model.py'));
  const { tileHeight, tileWidth, patchesPerTile } = bundle.geometry;
  const tensor = (name: string, type: string, dims: readonly number[]) =>
    `{ name: "${name}" data_type: TYPE_${type} dims: [ ${dims.join(', ')} ] }`;
  const parameter = (key: string, value: string) =>
    `parameters { key: "${key}" value: { string_value: "${value}" } }`;
  const config = [
    'name: "salad"',
    'backend: "python"',
    `max_batch_size: ${maxBatchSize}`,
    `dynamic_batching { max_queue_delay_microseconds: ${1e6 * maxBatchTime} }`,
    `input [ ${tensor('tiles', 'UINT8', [tileHeight, tileWidth, 1])}, ${tensor('cells', 'INT64', [patchesPerTile])} ]`,
    `output [ ${tensor('scores', 'FP32', [patchesPerTile])} ]`,
    'instance_group [ { kind: KIND_CPU count: 1 } ]',
    parameter('onnx', onnx),
    parameter('threads', String(plan.serverCores)),
  ];
  writeFileSync(join(repository, 'salad/config.pbtxt'), `${config.join('\n')}\n`);
  return repository;
}
