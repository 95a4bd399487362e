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
  peerShareRatio: whole({
    env: 'SALAD_PEER_SHARE_RATIO',
    default: 1,
    unit: 'ratio',
    min: 0,
    max: 1_000_000,
    description:
      'A peer (an identity, or else an address or a /64 network) may take more connections, calls, received bytes and memory of acquisitions while it holds at most this many times what is free of them: at 1 one peer gets about half, two a third each, and something is left for the next. Raise it behind a proxy that has all clients behind its address. 0 means no limit.',
  }),
  peerCallsPerSecond: whole({
    env: 'SALAD_PEER_CALLS_PER_SECOND',
    default: 1000,
    unit: 'calls/s',
    min: 0,
    max: 1_000_000,
    description:
      'Calls that one peer may begin in a second, half of them at once; a new connection counts as four. More are refused with a retry delay; a peer that goes on loses its connections. 0 means no limit.',
  }),
  maxReceivedBytes: whole({
    env: 'SALAD_MAX_RECEIVED_BYTES',
    default: 512 * 1024 * 1024,
    unit: 'bytes',
    min: 1024 * 1024,
    max: 2 ** 40,
    description:
      'Most bytes of request messages that come, are decoded or wait for their acquisition, over all calls; past it, or past the share of a peer, clients wait. Never less than maxMessageBytes.',
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
