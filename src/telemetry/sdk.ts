/** Starts the OpenTelemetry SDK, but loads it only if an exporter is configured: Prometheus or OTLP. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { metrics } from '@opentelemetry/api';
import type { IMetricReader } from '@opentelemetry/sdk-metrics';
import { SaladError } from '../errors/index.js';

export interface RunningSdk {
  /** Exports the remaining telemetry, then stops. */
  stop(): Promise<void>;
}

const SERVICE_NAME = 'salad-serve';
/** Sampling interval of the delay of the event loop. */
const RESOLUTION_MS = 20;

/** Whether the standard variables name an OTLP endpoint, for all signals or for this one. */
function hasEndpoint(environment: NodeJS.ProcessEnv, signal: 'TRACES' | 'METRICS'): boolean {
  if (environment['OTEL_SDK_DISABLED'] === 'true') return false;
  return Boolean(
    environment['OTEL_EXPORTER_OTLP_ENDPOINT'] || environment[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`],
  );
}

/**
 * Call it before `Telemetry` is created: instruments that were created earlier record nothing.
 * @param metricsListen HOST:PORT at which Prometheus scrapes /metrics; empty: none
 * @param environment decides whether to start; the SDK itself reads the standard OTEL_* variables from process.env
 * @returns undefined if no exporter is configured
 * @throws SaladError ADDRESS_UNAVAILABLE if the server cannot listen on the address
 */
export async function startSdk(
  metricsListen: string,
  environment: NodeJS.ProcessEnv,
): Promise<RunningSdk | undefined> {
  const prometheus = metricsListen === '' ? undefined : await startPrometheus(metricsListen);
  return startSdkWith(SERVICE_NAME, prometheus, environment);
}

/**
 * As `startSdk`, for another service.
 * @param serviceName unless OTEL_SERVICE_NAME names it
 * @param prometheus a reader of metrics; undefined: none
 */
export async function startSdkWith(
  serviceName: string,
  prometheus: IMetricReader | undefined,
  environment: NodeJS.ProcessEnv,
): Promise<RunningSdk | undefined> {
  const exportsTraces = hasEndpoint(environment, 'TRACES');
  const exportsMetrics = hasEndpoint(environment, 'METRICS');
  if (prometheus === undefined && !exportsTraces && !exportsMetrics) return undefined;
  const { NodeSDK } = await import('@opentelemetry/sdk-node');
  const sdk = new NodeSDK({
    serviceName: environment['OTEL_SERVICE_NAME'] || serviceName,
    autoDetectResources: false,
    instrumentations: [],
    // Without these options the SDK reads OTEL_METRICS_EXPORTER and OTEL_TRACES_EXPORTER, which default to OTLP.
    ...(prometheus ? { metricReaders: [prometheus] } : exportsMetrics ? {} : { metricReaders: [] }),
    ...(exportsTraces ? {} : { spanProcessors: [] }),
  });
  sdk.start();
  const stopObserving = observeEventLoop(serviceName);
  return {
    async stop() {
      stopObserving();
      await sdk.shutdown();
    },
  };
}

async function startPrometheus(listen: string) {
  const { PrometheusExporter } = await import('@opentelemetry/exporter-prometheus');
  const colon = listen.lastIndexOf(':');
  const host = listen.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  const exporter = new PrometheusExporter({
    host,
    port: Number(listen.slice(colon + 1)),
    preventServerStart: true,
  });
  try {
    await exporter.startServer();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SaladError('ADDRESS_UNAVAILABLE', `metricsListen ${listen}: ${reason}`, { cause: error });
  }
  return exporter;
}

/**
 * Observes the event loop of the port's thread: its delay delays every client.
 * @returns a function that stops it
 */
function observeEventLoop(meter: string): () => void {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  metrics
    .getMeter(meter)
    .createObservableGauge('nodejs.eventloop.delay.p99', {
      unit: 's',
      description: "Delay of the port's thread, 99th percentile since the last scrape.",
    })
    .addCallback((result) => {
      // The histogram contains the sampling interval.
      result.observe(Math.max(0, delay.percentile(99) / 1e9 - RESOLUTION_MS / 1000));
      delay.reset();
    });
  return () => delay.disable();
}
