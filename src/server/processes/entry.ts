/** Entry of a server process; `ServerProcess` starts it. It takes its settings and its connections from its parent. */
import { toErrorData } from '../../errors/transfer.js';
import { createLogger } from '../../telemetry/logger.js';
import { type RunningSdk, startSdk } from '../../telemetry/sdk.js';
import { loadImmediateExit } from '../../util/immediate-exit.js';
import { logForeign } from '../foreign-logs.js';
import { type RunningServer, startServer } from '../server.js';
import type { ProcessStart } from './messages.js';
import { WorkerGroup } from './worker-group.js';

/** After the grace of a drain, for connections and engines to end. */
const STOP_MS = 15_000;

process.noDeprecation = true;
// A terminal, and a supervisor of services, send their signals to all processes: the first one decides.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});

const exit = await loadImmediateExit();
let sdk: RunningSdk | undefined;
let server: RunningServer | undefined;
let drainGraceMs = 0;

const group = new WorkerGroup({
  endpoint: process,
  collectMetrics: async () => (await sdk?.collect()) ?? { scopeMetrics: [] },
  onMessage(message) {
    if (message.type === 'start') void start(message);
    if (message.type === 'drain') void stop(message.graceMs);
  },
});
// The first process has ended: without it no connection comes. Running acquisitions finish.
process.on('disconnect', () => {
  if (server === undefined) exit(1);
  else void stop(drainGraceMs);
});

async function start(message: ProcessStart): Promise<void> {
  const { config, index, cores, workerEntry, environment, hasMetrics } = message;
  const logger = createLogger(config).child({ process: index });
  logForeign(logger, exit);
  drainGraceMs = config.drainGraceMs;
  try {
    sdk = await startSdk({ environment, ofSeveral: true, hasReader: hasMetrics });
    server = await startServer(config, { logger, cores, group, workerEntry });
    group.send({ type: 'ready', engine: server.engine, models: server.models });
  } catch (error) {
    group.send({ type: 'failed', error: toErrorData(error) });
    process.disconnect();
  }
}

async function stop(graceMs: number): Promise<void> {
  setTimeout(() => exit(1), graceMs + STOP_MS).unref();
  await server?.stop(graceMs);
  await sdk?.stop();
  if (process.connected) process.disconnect();
  // A thread that hangs in an engine must not keep it either.
  exit(0);
}
