/** Starts telemetry and the port of operations, before anything else of the gateway. */
import { type RunningSdk, startSdk } from '../../../../src/telemetry/sdk.js';
import { OperationsPort, type OperationsPortOptions } from './operations-port.js';

const SERVICE_NAME = 'salad-modality';

export interface Operations {
  /** Undefined where the settings have no such port. */
  readonly port: number | undefined;
  close(): Promise<void>;
}

/**
 * Instruments must be created after this.
 * @param listen undefined opens no port; metrics and traces are still sent where `environment` names an OTLP endpoint
 * @throws SaladError ADDRESS_UNAVAILABLE; errors of wrong certificates
 */
export async function startOperations(
  listen: Omit<OperationsPortOptions, 'metrics' | 'reasonAgainst'> | undefined,
  reasonAgainst: OperationsPortOptions['reasonAgainst'],
  environment: NodeJS.ProcessEnv,
): Promise<Operations> {
  if (listen === undefined) {
    const sdk = await startSdk({ serviceName: SERVICE_NAME, environment });
    return { port: undefined, close: () => stopSdk(sdk) };
  }
  const { PrometheusExporter } = await import('@opentelemetry/exporter-prometheus');
  const prometheus = new PrometheusExporter({ preventServerStart: true });
  const sdk = await startSdk({ serviceName: SERVICE_NAME, reader: prometheus, environment });
  try {
    const metrics: OperationsPortOptions['metrics'] = (request, response) =>
      prometheus.getMetricsRequestHandler(request, response);
    const port = await OperationsPort.listen({ ...listen, reasonAgainst, metrics });
    return {
      port: port.port,
      async close() {
        await port.close();
        await stopSdk(sdk);
      },
    };
  } catch (error) {
    await stopSdk(sdk);
    throw error;
  }
}

/** What could not be sent is lost; that is no failure of the gateway. */
async function stopSdk(sdk: RunningSdk | undefined): Promise<void> {
  await sdk?.stop().catch(() => {});
}
