/** Section "Connections". */
import { whole } from './field.js';
import type { SettingsOf } from './section.js';

export const CONNECTION_FIELDS = {
  maxConnections: whole({
    env: 'SALAD_MAX_CONNECTIONS',
    default: 1024,
    unit: 'connections',
    min: 1,
    max: 1_000_000,
    description:
      'Largest number of open connections; a connection above it is closed before its TLS handshake.',
  }),
  connectTimeoutMs: whole({
    env: 'SALAD_CONNECT_TIMEOUT_MS',
    default: 10_000,
    unit: 'ms',
    min: 10,
    max: 600_000,
    description:
      'Longest time for the TLS handshake of a connection, and for its first HTTP/2 frame after that; then the connection is closed.',
  }),
  connectionIdleMs: whole({
    env: 'SALAD_CONNECTION_IDLE_MS',
    default: 300_000,
    unit: 'ms',
    min: 10,
    max: 2_147_483_646,
    description:
      'A connection without a call for this long is closed with GOAWAY; clients open a new one for their next call.',
  }),
  connectionMaxAgeMs: whole({
    env: 'SALAD_CONNECTION_MAX_AGE_MS',
    default: 600_000,
    unit: 'ms',
    min: 0,
    max: 2_147_483_646,
    description:
      'From this age (varied by up to a tenth) a connection gets GOAWAY as soon as no call runs on it, and from twice this age even if calls run: these finish, and clients open new connections, also to server instances that were added later. 0 means never.',
  }),
  keepaliveMs: whole({
    env: 'SALAD_KEEPALIVE_MS',
    default: 30_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description: 'The server pings a client that has sent nothing for this long.',
  }),
  keepaliveTimeoutMs: whole({
    env: 'SALAD_KEEPALIVE_TIMEOUT_MS',
    default: 30_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description:
      'Longest time for a client to send anything after a ping; then its connection counts as lost and is closed.',
  }),
  minPingIntervalMs: whole({
    env: 'SALAD_MIN_PING_INTERVAL_MS',
    default: 10_000,
    unit: 'ms',
    min: 0,
    max: 86_400_000,
    description:
      'A client that sends more than two pings at shorter intervals while it receives nothing loses its connection (ENHANCE_YOUR_CALM). 0 means that pings are not limited.',
  }),
} as const;

export type ConnectionConfig = SettingsOf<typeof CONNECTION_FIELDS>;
