/** Section "Port". */
import { address, optionalAddress, whole, wholeOrAuto } from './field.js';
import type { SettingsOf } from './section.js';

const MIB = 1024 * 1024;

export const PORT_FIELDS = {
  listen: address({
    env: 'SALAD_LISTEN',
    default: '127.0.0.1:50051',
    description: 'Address of the gRPC port as HOST:PORT; port 0 selects a free port.',
  }),
  healthListen: optionalAddress({
    env: 'SALAD_HEALTH_LISTEN',
    default: '',
    description:
      'Address of a second port that serves only grpc.health.v1, in plaintext and without authentication, for probes that cannot use TLS; empty means none.',
  }),
  receiveWindowBytes: whole({
    env: 'SALAD_RECEIVE_WINDOW_BYTES',
    default: 4 * MIB,
    unit: 'bytes',
    min: 65_535,
    max: 2 ** 31 - 1,
    description:
      'HTTP/2 receive window of a stream and of a connection; full speed needs at least bandwidth times round-trip time.',
  }),
  drainGraceMs: whole({
    env: 'SALAD_DRAIN_GRACE_MS',
    default: 20_000,
    unit: 'ms',
    min: 0,
    max: 86_400_000,
    description: 'Longest time for running acquisitions to finish after a stop was requested.',
  }),
  processes: wholeOrAuto({
    env: 'SALAD_PROCESSES',
    default: 1,
    unit: 'processes',
    min: 1,
    max: 64,
    description:
      'Server processes behind the one port: each has a thread for the port, its own engine and its own batches. More than one is for a GPU that one port thread cannot keep busy. auto: one for every four of workers, or of the cores where workers is 0, at most 8. workers, maxConnections, maxConcurrentAcquisitions, maxAcquisitionBytes and maxReceivedBytes are divided among them; all other limits apply in each.',
  }),
} as const;

export type PortConfig = SettingsOf<typeof PORT_FIELDS>;
