/** The metrics of all processes, at one address. */
import type { CollectedMetrics } from '../../telemetry/merged-metrics.js';
import type { ServerProcess } from './server-process.js';

export interface Metrics {
  add(process: ServerProcess): void;
  remove(process: ServerProcess): void;
  close(): Promise<void>;
}

/** A process that does not answer in time is busy: its last answer counts. */
const ANSWER_MS = 5000;

/** @param listen HOST:PORT; empty: none @throws SaladError ADDRESS_UNAVAILABLE */
export async function openMetrics(
  listen: string,
  environment: NodeJS.ProcessEnv,
): Promise<Metrics | undefined> {
  if (listen === '') return undefined;
  const { ProcessMetrics } = await import('../../telemetry/merged-metrics.js');
  const { servePrometheus } = await import('../../telemetry/sdk.js');
  const merged = new ProcessMetrics();
  const processes = new Map<ServerProcess, () => Promise<CollectedMetrics>>();
  const port = await servePrometheus(listen, environment, () => merged.collect(processes));
  return {
    add: (process) => {
      processes.set(process, () =>
        Promise.race([
          process.ready.then(() => process.request<CollectedMetrics>({ do: 'metrics' })),
          rejectAfter(ANSWER_MS),
        ]),
      );
    },
    remove: (process) => {
      processes.delete(process);
      merged.processEnded(process);
    },
    close: () => port.close(),
  };
}

function rejectAfter(ms: number): Promise<never> {
  return new Promise((_resolve, reject) => {
    setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms).unref();
  });
}
