/** Section "Quotas". */
import { whole } from './field.js';
import type { SettingsOf } from './section.js';

export const QUOTA_FIELDS = {
  peerShareRatio: whole({
    env: 'SALAD_PEER_SHARE_RATIO',
    default: 1,
    unit: 'ratio',
    min: 0,
    max: 1_000_000,
    description:
      'A peer (an identity, otherwise an address or a /64 network) may take more connections, calls, received bytes and acquisition memory only while it holds at most this many times the part that is free: with 1, one peer gets about half, two peers get a third each, and some is left for the next peer. Raise it if a proxy gives all clients the same address. 0 means no limit.',
  }),
  peerCallsPerSecond: whole({
    env: 'SALAD_PEER_CALLS_PER_SECOND',
    default: 1000,
    unit: 'calls/s',
    min: 0,
    max: 1_000_000,
    description:
      'Calls that one peer may start in a second, half of them at once; a new connection counts as four calls. Calls above this are refused with a retry delay; a peer that continues loses its connections. 0 means no limit.',
  }),
  identityMaxAcquisitions: whole({
    env: 'SALAD_IDENTITY_MAX_ACQUISITIONS',
    default: 0,
    unit: 'acquisitions',
    min: 0,
    max: 1_000_000,
    description:
      'Largest number of open acquisitions of one identity; 0 means only the limit of the server applies.',
  }),
  identityMaxBytesPerSecond: whole({
    env: 'SALAD_IDENTITY_MAX_BYTES_PER_SECOND',
    default: 0,
    unit: 'bytes/s',
    min: 0,
    max: 2 ** 40,
    description:
      'Request bytes of one identity per second, over all its calls; above this the server pauses reading, so its clients wait. 0 means no limit.',
  }),
} as const;

export type QuotaConfig = SettingsOf<typeof QUOTA_FIELDS>;
