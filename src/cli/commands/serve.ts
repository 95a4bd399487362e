import type { Command } from 'commander';
import type { ServeConfig } from '../../config/schema.js';
import { logForeign } from '../../server/foreign-logs.js';
import { checkListen } from '../../server/listen.js';
import { processCount } from '../../server/processes/division.js';
import { type RunningProcesses, startProcesses } from '../../server/processes/processes.js';
import { type RunningServer, startServer } from '../../server/server.js';
import { createLogger, type Logger } from '../../telemetry/logger.js';
import { startSdk } from '../../telemetry/sdk.js';
import { type Exit, loadImmediateExit } from '../../util/immediate-exit.js';
import { type ConfigFlags, configOf, withConfigFlags } from '../shared/config-flags.js';
import type { ProgramContext } from '../shared/context.js';
import { openFilesMax } from '../shared/file-limit.js';
import { helpText } from '../shared/help.js';
import { EXIT, print, printJson } from '../shared/output.js';

type ServeFlags = ConfigFlags & { readonly json?: boolean };

export function registerServe(program: Command, context: ProgramContext): void {
  withConfigFlags(program.command('serve'))
    .summary('serve model bundles over gRPC until SIGTERM or SIGINT')
    .description(
      'Serves model bundles over gRPC until SIGTERM or SIGINT. The first line of output says that the server is ready, ' +
        'and its address; the log goes to stderr as JSON Lines.',
    )
    .option('--json', 'print the ready line as one JSON object')
    .addHelpText(
      'after',
      helpText(
        [
          'Every setting can be given by a flag of its own or --set, by a variable (SALAD_ and its name in capitals), or in ' +
            'the file of --config; flags come first, then variables. "salad config print --sources" lists all with ' +
            'their sources.',
          'Metrics for Prometheus: SALAD_METRICS_LISTEN=127.0.0.1:9464. Traces and metrics over OTLP: the standard OTEL_ ' +
            'variables.',
          'With --processes several processes serve the one port, for a GPU that one cannot keep busy.',
          'SIGTERM or SIGINT drains: new acquisitions are refused, running ones finish. A second signal exits at once.',
        ],
        [
          ['salad serve', 'serve the shipped models on 127.0.0.1:50051'],
          ['salad serve --listen 127.0.0.1:0 --json', 'on a free port, which the first line of output names'],
          ['salad serve --models ./models --engine onnx', 'serve your bundles on the native CPU engine'],
          [
            'salad serve --config salad.yaml --set maxQueueMs=2000',
            'with settings from a file, and one more',
          ],
        ],
      ),
    )
    .action((flags: ServeFlags) => serve(flags, context));
}

async function serve(flags: ServeFlags, context: ProgramContext): Promise<void> {
  const { config } = await configOf(flags, context);
  const logger = createLogger(config);
  const exit = await loadImmediateExit();
  logForeign(logger, exit);
  const openFiles = openFilesMax();
  if (openFiles !== undefined && openFiles < config.maxConnections + FILES_RESERVED) {
    const { maxConnections } = config;
    logger.warn({ openFiles, maxConnections }, 'the limit of open files is below what maxConnections needs');
  }
  await checkListen('metricsListen', config.metricsListen);
  const count = processCount(config);
  const parts = { config, logger, exit, json: flags.json === true };
  if (count > 1) {
    const { environment } = context;
    await serveUntilDrained(parts, () => startProcesses(config, { logger, count, environment }));
    return;
  }
  // Before the server, which makes its instruments at start.
  const { metricsListen } = config;
  const sdk = await startSdk({ metricsListen, environment: context.environment });
  try {
    await serveUntilDrained(parts, () => startServer(config, { logger }));
  } finally {
    await sdk?.stop();
  }
  exitSoon(exit);
}

/** An engine that was starting when the server stopped keeps its thread: nothing waits for it. */
function exitSoon(exit: Exit): void {
  setTimeout(() => exit(EXIT.success), LEFT_RUNNING_MS).unref();
}

const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const;
/** Open files other than connections: modules, models, threads. */
const FILES_RESERVED = 200;
/** For threads to end that have nothing left to do. */
const LEFT_RUNNING_MS = 500;
/** After the grace of the drain, for connections, engines and telemetry to end. */
const STOP_MS = 15_000;

interface ServeParts {
  readonly config: ServeConfig;
  readonly logger: Logger;
  readonly exit: Exit;
  readonly json: boolean;
}

/** A server, or several processes of one. */
type Running = Pick<RunningServer, 'address' | 'engine' | 'models' | 'stop'> &
  Partial<Pick<RunningProcesses, 'processes' | 'kill'>>;

async function serveUntilDrained(
  { config, logger, exit, json }: ServeParts,
  start: () => Promise<Running>,
): Promise<void> {
  // A process with PID 1 ignores signals without a handler. During warm-up there is nothing to drain, so it exits.
  const endWarmUp = () => exit(EXIT.interrupted);
  for (const signal of STOP_SIGNALS) process.on(signal, endWarmUp);
  const server = await start();
  // Before the ready line is printed, because a signal right after it must drain the server.
  for (const signal of STOP_SIGNALS) process.off(signal, endWarmUp);
  const drained = drainOnSignal(server, config.drainGraceMs, { logger, exit });
  const { address, engine, models, processes = 1 } = server;
  if (json) printJson({ event: 'ready', address, engine, models, processes });
  else {
    const several = processes === 1 ? '' : `, ${processes} processes`;
    print(`salad-serve is ready on ${address} (engine ${engine}${several}): ${models.join(', ')}`);
  }
  await drained;
}

/** Resolves when the first signal's drain is done; a second signal exits the process at once. */
function drainOnSignal(
  server: Running,
  graceMs: number,
  { logger, exit }: Pick<ServeParts, 'logger' | 'exit'>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let draining = false;
    const exitNow = (code: number) => {
      server.kill?.();
      exit(code);
    };
    const onSignal = (signal: NodeJS.Signals) => {
      if (draining) exitNow(EXIT.interrupted);
      draining = true;
      logger.info({ signal, graceMs }, 'draining; a second signal exits at once');
      setTimeout(() => {
        logger.fatal('the server did not stop in time');
        exitNow(EXIT.failure);
      }, graceMs + STOP_MS).unref();
      server
        .stop(graceMs)
        .then(() => logger.info('stopped'))
        .then(resolve, reject);
    };
    for (const signal of STOP_SIGNALS) process.on(signal, onSignal);
  });
}
