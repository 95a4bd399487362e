/**
 * A server of this package with the engine of `instant-worker.ts`: `node salad-process.js MODELS [PROFILE]`. Where
 * PROFILE names a file, SIGUSR2 starts a CPU profile of the main thread, and the end of the server writes it there. With
 * SALAD_BENCH_OPEN_INFERENCE=off it has everything but the Open Inference Protocol.
 */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { fileURLToPath } from 'node:url';
import { Server } from '@grpc/grpc-js';
import { loadConfig } from '../../src/config/load.js';
import { OPEN_INFERENCE_SERVICE } from '../../src/server/handlers/open-inference.js';
import { startProcesses } from '../../src/server/processes/processes.js';
import { startServer } from '../../src/server/server.js';
import { createLogger } from '../../src/telemetry/logger.js';

const [, , models = '', profileFile] = process.argv;
const flags = {
  ...{ listen: '127.0.0.1:0', models, engine: 'onnx', workers: 1, peerCallsPerSecond: 0 },
  ...{ peerShareRatio: 0, logLevel: 'warn' },
};
const workerEntry = fileURLToPath(new URL('instant-worker.js', import.meta.url));
const environment = process.env;
const config = await loadConfig({ environment, flags });
const count = Number(environment['SALAD_BENCH_PROCESSES'] ?? 1);
const logger = createLogger(config);
// Servers have no setting for it: users would gain nothing, as `unused-protocol.ts` shows.
if (environment['SALAD_BENCH_OPEN_INFERENCE'] === 'off') {
  const { addService } = Server.prototype;
  Server.prototype.addService = function (service, handlers) {
    if (service !== OPEN_INFERENCE_SERVICE) addService.call(this, service, handlers);
  };
}
const server =
  count === 1
    ? await startServer(config, { workerEntry, logger })
    : await startProcesses(config, { workerEntry, logger, count, environment });
console.log(JSON.stringify({ event: 'ready', address: server.address }));

const session = new Session();
session.connect();

async function startProfile(): Promise<void> {
  await session.post('Profiler.enable');
  await session.post('Profiler.start');
}

async function stop(): Promise<void> {
  if (profileFile !== undefined) {
    const { profile } = await session.post('Profiler.stop');
    writeFileSync(profileFile, JSON.stringify(profile));
  }
  session.disconnect();
  await server.stop(0);
}

process.on('SIGUSR2', () => void startProfile());
process.on('SIGTERM', () => void stop());
