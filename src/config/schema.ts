/** The schema of the server's configuration: its sections, and all their settings together. */

import { ADMISSION_FIELDS, type AdmissionConfig } from './sections/admission.js';
import { BATCHING_FIELDS, type BatchingConfig } from './sections/batching.js';
import { CALL_FIELDS, type CallConfig } from './sections/calls.js';
import { CONNECTION_FIELDS, type ConnectionConfig } from './sections/connections.js';
import { ENGINE_FIELDS, type EngineConfig } from './sections/engine.js';
import type { ConfigField } from './sections/field.js';
import { MODEL_FIELDS, type ModelConfig } from './sections/models.js';
import { PORT_FIELDS, type PortConfig } from './sections/port.js';
import { QUOTA_FIELDS, type QuotaConfig } from './sections/quotas.js';
import type { ConfigSection } from './sections/section.js';
import { SECURITY_FIELDS, type SecurityConfig } from './sections/security.js';
import { TELEMETRY_FIELDS, type TelemetryConfig } from './sections/telemetry.js';

/** In the order of docs/reference/config.md. */
export const CONFIG_SECTIONS: readonly ConfigSection[] = [
  {
    title: 'Port',
    description: 'The addresses that the server listens on, and how it stops.',
    fields: PORT_FIELDS,
  },
  {
    title: 'Models',
    description: 'The models that are served, and how their memory banks are searched.',
    fields: MODEL_FIELDS,
  },
  {
    title: 'Engine',
    description: 'The engine that runs the networks, its threads, and the fail-over to another engine.',
    fields: ENGINE_FIELDS,
  },
  {
    title: 'Batching',
    description: 'How tiles of several acquisitions share a batch.',
    fields: BATCHING_FIELDS,
  },
  {
    title: 'Admission',
    description:
      'When the server refuses an acquisition, because it is too large or the server has too much work.',
    fields: ADMISSION_FIELDS,
  },
  {
    title: 'Calls',
    description: 'Sizes and time limits of the messages of a call.',
    fields: CALL_FIELDS,
  },
  {
    title: 'Quotas',
    description: 'How much of the server one client may use.',
    fields: QUOTA_FIELDS,
  },
  {
    title: 'Connections',
    description: 'Number, age and liveness of HTTP/2 connections.',
    fields: CONNECTION_FIELDS,
  },
  {
    title: 'Security',
    description: 'TLS, authentication of callers, and the calls that change the server.',
    fields: SECURITY_FIELDS,
  },
  {
    title: 'Telemetry',
    description: 'Metrics and log. The standard `OTEL_` variables configure export over OTLP.',
    fields: TELEMETRY_FIELDS,
  },
];

/**
 * The whole configuration, checked, complete and frozen. A part of the program takes only the sections that it reads;
 * the whole is for src/server/server.ts, src/cli and src/config.
 */
export type ServeConfig = PortConfig &
  ModelConfig &
  EngineConfig &
  BatchingConfig &
  AdmissionConfig &
  CallConfig &
  QuotaConfig &
  ConnectionConfig &
  SecurityConfig &
  TelemetryConfig;

/** Every setting by its key, section by section. */
export const CONFIG_FIELDS = {
  ...PORT_FIELDS,
  ...MODEL_FIELDS,
  ...ENGINE_FIELDS,
  ...BATCHING_FIELDS,
  ...ADMISSION_FIELDS,
  ...CALL_FIELDS,
  ...QUOTA_FIELDS,
  ...CONNECTION_FIELDS,
  ...SECURITY_FIELDS,
  ...TELEMETRY_FIELDS,
} as const satisfies { readonly [Key in keyof ServeConfig]: ConfigField<ServeConfig[Key]> };

export type ConfigKey = keyof typeof CONFIG_FIELDS;
