/** Section "Calls". */
import { whole } from './field.js';
import type { SettingsOf } from './section.js';

const MIB = 1024 * 1024;

export const CALL_FIELDS = {
  maxMessageBytes: whole({
    env: 'SALAD_MAX_MESSAGE_BYTES',
    default: 64 * MIB,
    unit: 'bytes',
    min: 64 * 1024,
    max: 2 ** 31 - 1,
    description: 'Largest request message; a whole image for ScoreImage must fit into one message.',
  }),
  maxPendingBytes: whole({
    env: 'SALAD_MAX_PENDING_BYTES',
    default: 4 * MIB,
    unit: 'bytes',
    min: 1,
    max: 2 ** 31 - 1,
    description: 'Request bytes of one stream that may wait to be read; above this the stream is paused.',
  }),
  maxReceivedBytes: whole({
    env: 'SALAD_MAX_RECEIVED_BYTES',
    default: 512 * MIB,
    unit: 'bytes',
    min: MIB,
    max: 2 ** 40,
    description:
      'Memory for request messages that are being received, are being decoded or wait for their acquisition, over all calls; above this, or above the share of a peer, clients wait. Always at least maxMessageBytes; four times as much lets one client send its largest messages compressed.',
  }),
  headerTimeoutMs: whole({
    env: 'SALAD_HEADER_TIMEOUT_MS',
    default: 10_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description:
      'Longest time for the first message of a stream (the header of an acquisition) to arrive; then the call fails.',
  }),
  requestTimeoutMs: whole({
    env: 'SALAD_REQUEST_TIMEOUT_MS',
    default: 120_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description:
      'Longest time for the only request message of a call (a whole image) to arrive; then the call fails.',
  }),
  idleTimeoutMs: whole({
    env: 'SALAD_IDLE_TIMEOUT_MS',
    default: 30_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description:
      'Longest time for a client to send nothing before the end of its acquisition, or to read nothing; then the acquisition fails.',
  }),
} as const;

export type CallConfig = SettingsOf<typeof CALL_FIELDS>;
