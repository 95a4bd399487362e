/** Starts the OpenTelemetry SDK, but loads it only if an exporter is configured: Prometheus or OTLP. */
import { randomUUID } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { metrics } from '@opentelemetry/api';
import type { IMetricReader, MetricReader, ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { SaladError } from '../errors/index.js';
import type { CollectedMetrics } from './merged-metrics.js';

export interface RunningSdk {
  /** The metrics now; undefined without `hasReader`. */
  collect(): Promise<CollectedMetrics | undefined>;
  /** Exports the remaining telemetry, for at most 3 s: a receiver that does not answer must not keep the process. */
  stop(): Promise<void>;
}

const SERVICE_NAME = 'salad-serve';
/** For the last telemetry to be sent. */
const STOP_MS = 3000;
/** Sampling interval of the delay of the event loop. */
const RESOLUTION_MS = 20;

/** Whether the standard variables name an OTLP endpoint, for all signals or for this one. */
function hasEndpoint(environment: NodeJS.ProcessEnv, signal: 'TRACES' | 'METRICS'): boolean {
  if (environment['OTEL_SDK_DISABLED'] === 'true') return false;
  return Boolean(
    environment['OTEL_EXPORTER_OTLP_ENDPOINT'] || environment[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`],
  );
}

export interface SdkOptions {
  /** Unless OTEL_SERVICE_NAME names the service. @default salad-serve */
  readonly serviceName?: string;
  /** HOST:PORT at which Prometheus scrapes /metrics; empty: none. @default none */
  readonly metricsListen?: string;
  /** Reads the metrics, where neither `metricsListen` nor `hasReader` is given. @default none */
  readonly reader?: IMetricReader | undefined;
  /** Decides whether to start; the SDK itself reads the standard OTEL_* variables from process.env. */
  readonly environment: NodeJS.ProcessEnv;
  /** Whether other processes of the server send telemetry too: it then names the process. */
  readonly ofSeveral?: boolean;
  /** Whether metrics are read by `collect`, for the process that is scraped. */
  readonly hasReader?: boolean;
}

/**
 * Call it before `Telemetry` is created: instruments that were created earlier record nothing.
 * @returns undefined if no exporter is configured
 * @throws SaladError ADDRESS_UNAVAILABLE if the server cannot listen on the address
 */
export async function startSdk({
  serviceName = SERVICE_NAME,
  metricsListen = '',
  reader,
  environment,
  ofSeveral = false,
  hasReader = false,
}: SdkOptions): Promise<RunningSdk | undefined> {
  const exportsTraces = hasEndpoint(environment, 'TRACES');
  const exportsMetrics = hasEndpoint(environment, 'METRICS');
  const collector = hasReader ? await createReader() : undefined;
  const prometheus = metricsListen === '' ? reader : await startPrometheus(metricsListen);
  const metricReader = collector ?? prometheus;
  if (metricReader === undefined && !exportsTraces && !exportsMetrics) return undefined;
  const { NodeSDK, resources } = await import('@opentelemetry/sdk-node');
  const sdk = new NodeSDK({
    serviceName: environment['OTEL_SERVICE_NAME'] || serviceName,
    // Two processes must not send the same time series.
    ...(ofSeveral
      ? { resource: resources.resourceFromAttributes({ 'service.instance.id': randomUUID() }) }
      : {}),
    autoDetectResources: false,
    instrumentations: [],
    // Without these options the SDK reads OTEL_METRICS_EXPORTER and OTEL_TRACES_EXPORTER, which default to OTLP.
    ...(metricReader ? { metricReaders: [metricReader] } : exportsMetrics ? {} : { metricReaders: [] }),
    ...(exportsTraces ? {} : { spanProcessors: [] }),
  });
  sdk.start();
  const stopObserving = observeEventLoop(serviceName);
  return {
    async collect() {
      if (collector === undefined) return undefined;
      const { scopeMetrics } = (await collector.collect()).resourceMetrics;
      return { scopeMetrics };
    },
    async stop() {
      stopObserving();
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, STOP_MS);
      });
      await Promise.race([sdk.shutdown(), late]).finally(() => clearTimeout(timer));
    },
  };
}

/** Offers the metrics of several processes to Prometheus. @throws SaladError ADDRESS_UNAVAILABLE */
export async function servePrometheus(
  listen: string,
  environment: NodeJS.ProcessEnv,
  collect: () => Promise<CollectedMetrics>,
): Promise<{ close(): Promise<void> }> {
  const exporter = await startPrometheus(listen);
  const attributes = { 'service.name': environment['OTEL_SERVICE_NAME'] || SERVICE_NAME };
  // Of the resource, the exporter reads these attributes only.
  const resource = { attributes } as unknown as ResourceMetrics['resource'];
  exporter.collect = async () => ({
    resourceMetrics: { resource, ...(await collect()) },
    errors: [],
  });
  return { close: () => exporter.stopServer() };
}

/** A reader that reads when it is asked. */
async function createReader(): Promise<MetricReader> {
  const { MetricReader } = await import('@opentelemetry/sdk-metrics');
  class OnRequest extends MetricReader {
    protected async onForceFlush(): Promise<void> {}
    protected async onShutdown(): Promise<void> {}
  }
  return new OnRequest();
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
