/** What one client may hold of the port before it has sent a request. */
import { whole } from './field.js';

export const CONNECTION_FIELDS = {
  maxConnections: whole({
    env: 'SALAD_MAX_CONNECTIONS',
    default: 1024,
    unit: 'connections',
    min: 1,
    max: 1_000_000,
    description: 'Most connections at once; the next is closed before its TLS handshake.',
  }),
  connectTimeoutMs: whole({
    env: 'SALAD_CONNECT_TIMEOUT_MS',
    default: 10_000,
    unit: 'ms',
    min: 10,
    max: 600_000,
    description:
      'A connection whose TLS handshake, or whose first HTTP/2 frame after it, takes longer is closed.',
  }),
  headerTimeoutMs: whole({
    env: 'SALAD_HEADER_TIMEOUT_MS',
    default: 10_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description: 'A stream whose first message (the header of an acquisition) takes longer is failed.',
  }),
  requestTimeoutMs: whole({
    env: 'SALAD_REQUEST_TIMEOUT_MS',
    default: 120_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description: 'A call whose one request message (a whole image) takes longer to arrive is failed.',
  }),
  connectionIdleMs: whole({
    env: 'SALAD_CONNECTION_IDLE_MS',
    default: 300_000,
    unit: 'ms',
    min: 10,
    max: 2_147_483_646,
    description: 'A connection without any call for this long is closed with GOAWAY; clients connect anew.',
  }),
  connectionMaxAgeMs: whole({
    env: 'SALAD_CONNECTION_MAX_AGE_MS',
    default: 600_000,
    unit: 'ms',
    min: 0,
    max: 2_147_483_646,
    description:
      'Age (give or take a tenth) from which a connection gets GOAWAY as soon as no call runs on it, and at twice this age whatever runs: calls finish, and clients connect anew, to instances that came since, too. 0 means never.',
  }),
  keepaliveMs: whole({
    env: 'SALAD_KEEPALIVE_MS',
    default: 30_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description: 'A client that sent nothing for this long is pinged.',
  }),
  keepaliveTimeoutMs: whole({
    env: 'SALAD_KEEPALIVE_TIMEOUT_MS',
    default: 30_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description:
      'A client that sends nothing for this long after a ping has vanished: its connection is closed.',
  }),
  minPingIntervalMs: whole({
    env: 'SALAD_MIN_PING_INTERVAL_MS',
    default: 10_000,
    unit: 'ms',
    min: 0,
    max: 86_400_000,
    description:
      'A client that pings sooner than this, more than twice while nothing is sent to it, loses its connection (ENHANCE_YOUR_CALM). 0 means any.',
  }),
} as const;
