/**
 * `node losing-server.js MODELS`: a server on the engine webgpu that destroys its device when it receives SIGUSR2. It
 * prints the ready line of `salad serve --json` and logs to stderr; SIGTERM ends it.
 */
import { fileURLToPath } from 'node:url';
import { setEnvironmentData } from 'node:worker_threads';
import { printJson } from '../../src/cli/shared/output.js';
import { loadConfig } from '../../src/config/load.js';
import { ONNX_ENVIRONMENT } from '../../src/engines/onnx/environment.js';
import { startServer } from '../../src/server/server.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { LOSS_KEY } from './loss.js';

const [, , models = ''] = process.argv;
Object.assign(process.env, ONNX_ENVIRONMENT);
const request = new Int32Array(new SharedArrayBuffer(4));
setEnvironmentData(LOSS_KEY, request);
const config = await loadConfig({
  environment: process.env,
  flags: { models, listen: '127.0.0.1:0', engine: 'webgpu' },
});
const workerEntry = fileURLToPath(new URL('./losing-worker.js', import.meta.url));
const server = await startServer(config, { logger: createLogger(config), workerEntry });
process.on('SIGUSR2', () => Atomics.store(request, 0, 1));
process.once('SIGTERM', () => void server.stop(0).then(() => process.exit()));
printJson({ event: 'ready', address: server.address });
