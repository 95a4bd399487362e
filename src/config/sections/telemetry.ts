/** Section "Telemetry". */
import { choice, optionalAddress } from './field.js';
import type { SettingsOf } from './section.js';

export const TELEMETRY_FIELDS = {
  metricsListen: optionalAddress({
    env: 'SALAD_METRICS_LISTEN',
    default: '',
    description: 'Address at which Prometheus can scrape /metrics, as HOST:PORT; empty means none.',
  }),
  logLevel: choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    env: 'SALAD_LOG_LEVEL',
    default: 'info',
    description: 'Least severe level of the log, which is written to stderr as JSON lines.',
  }),
} as const;

export type TelemetryConfig = SettingsOf<typeof TELEMETRY_FIELDS>;
