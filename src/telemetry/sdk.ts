/** The OpenTelemetry SDK, loaded only where somebody listens: a Prometheus scraper, or an OTLP receiver. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { metrics } from '@opentelemetry/api';
import { SaladError } from '../errors/index.js';

export interface RunningSdk {
  /** Sends what is left. */
  stop(): Promise<void>;
}

const SERVICE = 'salad-serve';

/** True where the standard variables name a receiver (OTEL_EXPORTER_OTLP_ENDPOINT and those for one signal). */
function exports(environment: NodeJS.ProcessEnv, signal: 'TRACES' | 'METRICS'): boolean {
  if (environment['OTEL_SDK_DISABLED'] === 'true') return false;
  return Boolean(
    environment['OTEL_EXPORTER_OTLP_ENDPOINT'] || environment[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`],
  );
}

/**
 * Must run before instruments are made.
 * @param metricsListen HOST:PORT for Prometheus to scrape at /metrics; empty: none
 * @param environment the standard OTEL_* variables are the SDK's own, read from process.env
 * @returns undefined where nobody listens: then nothing is loaded
 * @throws SaladError CONFIGURATION_INVALID where the address cannot be listened on
 */
export async function startSdk(
  metricsListen: string,
  environment: NodeJS.ProcessEnv,
): Promise<RunningSdk | undefined> {
  const sendsTraces = exports(environment, 'TRACES');
  const sendsMetrics = exports(environment, 'METRICS');
  if (metricsListen === '' && !sendsTraces && !sendsMetrics) return undefined;
  const { NodeSDK } = await import('@opentelemetry/sdk-node');
  const scraped = metricsListen === '' ? undefined : await prometheus(metricsListen);
  const sdk = new NodeSDK({
    serviceName: environment['OTEL_SERVICE_NAME'] || SERVICE,
    autoDetectResources: false,
    instrumentations: [],
    // Absent: the SDK reads OTEL_METRICS_EXPORTER and OTEL_TRACES_EXPORTER, which default to OTLP.
    ...(scraped ? { metricReaders: [scraped] } : sendsMetrics ? {} : { metricReaders: [] }),
    ...(sendsTraces ? {} : { spanProcessors: [] }),
  });
  sdk.start();
  const stopDelay = observeEventLoop();
  return {
    async stop() {
      stopDelay();
      await sdk.shutdown();
    },
  };
}

async function prometheus(listen: string) {
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
    const why = error instanceof Error ? error.message : String(error);
    throw new SaladError('ADDRESS_UNAVAILABLE', `metricsListen ${listen}: ${why}`, { cause: error });
  }
  return exporter;
}

/** The port's thread is the part of this server that can be late for everybody. */
function observeEventLoop(): () => void {
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  metrics
    .getMeter(SERVICE)
    .createObservableGauge('nodejs.eventloop.delay.p99', {
      unit: 's',
      description: "How late the port's thread is, 99th percentile since the last reading.",
    })
    .addCallback((result) => {
      result.observe(Math.max(0, delay.percentile(99) / 1e9 - 0.02));
      delay.reset();
    });
  return () => delay.disable();
}
