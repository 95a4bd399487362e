/**
 * `node server.js MODELS`: the server of `salad serve --engine onnx` with the engine of engine.ts. It prints the ready
 * line of `salad serve --json` and logs to stderr; SIGTERM ends it.
 */
import { fileURLToPath } from 'node:url';
import { printJson } from '../../../src/cli/shared/output.js';
import { loadConfig } from '../../../src/config/load.js';
import { ONNX_ENVIRONMENT } from '../../../src/engines/onnx/environment.js';
import { startServer } from '../../../src/server/server.js';
import { createLogger } from '../../../src/telemetry/logger.js';

const [, , models = ''] = process.argv;
Object.assign(process.env, ONNX_ENVIRONMENT);
const config = await loadConfig({
  environment: process.env,
  flags: { models, listen: '127.0.0.1:0', engine: 'onnx' },
});
const workerEntry = fileURLToPath(new URL('./worker.js', import.meta.url));
const server = await startServer(config, { logger: createLogger(config), workerEntry });
process.once('SIGTERM', () => void server.stop(0).then(() => process.exit()));
printJson({ event: 'ready', address: server.address });
