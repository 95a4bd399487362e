/** A server of this package with the engine of `instant-worker.ts`: `node salad-process.js MODELS`. */
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../../src/config/load.js';
import { startServer } from '../../src/server/server.js';

const [, , models = ''] = process.argv;
const flags = { listen: '127.0.0.1:0', models, engine: 'onnx', workers: 1 };
const workerEntry = fileURLToPath(new URL('instant-worker.js', import.meta.url));
const server = await startServer(await loadConfig({ flags }), { workerEntry });
console.log(JSON.stringify({ event: 'ready', address: server.address }));
process.on('SIGTERM', () => void server.stop(0));
