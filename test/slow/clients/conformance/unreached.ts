/** Reasons without a case: no acquisition of a correct client ends with them, or only one that needs a broken machine. */
import type { ErrorReason } from '../../../../src/errors/index.js';

export interface Unreached {
  readonly why: string;
  /** The test that shows the reason. */
  readonly file: string;
  readonly title: string;
}

const HEADER_FIRST = 'Every client sends one header, as the first message.';
const START = 'The server does not start.';
const CHANGE = 'Only calls that change models give it; only the TypeScript client has them.';
const TRAINING = 'Training and evaluation are commands, not calls.';
const GATEWAY = 'Inboxes of the DICOM gateway give it, not the server.';
const DECODER = 'No file does this within the limits on every machine: the time or the process must fail.';
const REFUSALS = 'test/integration/serving-refusals.test.ts';
const DICOM = 'test/integration/dicom-decoder.test.ts';
const LIVE = 'test/slow/live-models.test.ts';
const ENDS = 'test/integration/call-ends.test.ts';
const INBOX = 'test/unit/clients/modality/inbox.test.ts';

export const UNREACHED: Partial<Record<ErrorReason, Unreached>> = {
  HEADER_MISSING: { why: HEADER_FIRST, file: REFUSALS, title: 'no header' },
  HEADER_DUPLICATE: { why: HEADER_FIRST, file: REFUSALS, title: 'two headers' },
  DECODING_LIMIT_EXCEEDED: { why: DECODER, file: DICOM, title: 'is ended at its deadline' },
  DECODER_UNAVAILABLE: {
    why: DECODER,
    file: DICOM,
    title: 'gives a frame in parts, which a source that was given up does not disturb',
  },
  LAST_MODEL: {
    why: CHANGE,
    file: LIVE,
    title: 'health follows each model, and a server never unloads its last',
  },
  ADMIN_DISABLED: { why: CHANGE, file: LIVE, title: 'calls that change models need the setting admin' },
  BUNDLE_INVALID: {
    why: CHANGE,
    file: LIVE,
    title: 'a version that cannot be served is refused with its reason and disturbs nothing',
  },
  TRAINING_DATA_INVALID: {
    why: TRAINING,
    file: 'test/unit/training/encoders/salad/trainer.test.ts',
    title: 'refuses to resume with another configuration, seed or data, or from a damaged file',
  },
  CONFIGURATION_INVALID: {
    why: START,
    file: 'test/integration/serving-limits.test.ts',
    title: 'refuses to start without a bundle, with an invalid one, and on a port in use',
  },
  ADDRESS_UNAVAILABLE: {
    why: START,
    file: 'test/integration/serving-limits.test.ts',
    title: 'refuses to start without a bundle, with an invalid one, and on a port in use',
  },
  ENGINE_UNAVAILABLE: {
    why: START,
    file: 'test/slow/bundles.test.ts',
    title: 'make the start fail with the first reason where none can be served',
  },
  ENGINE_FAILED: {
    why: 'An acquisition ends with an aggregate that counts the patches that an engine could not score.',
    file: 'test/unit/pool/messages.test.ts',
    title: 'is ENGINE_FAILED with the error of the engine as its cause',
  },
  STORAGE_FULL: {
    why: GATEWAY,
    file: INBOX,
    title: 'refuses instances before the disk is full, at the begin and within a large one, and lives on',
  },
  INSTANCE_CONFLICT: {
    why: GATEWAY,
    file: INBOX,
    title: 'refuses other content under a known UID, keeps it aside and leaves the first as it is',
  },
  DEADLINE_EXCEEDED: {
    why: 'A client ends its call at the deadline itself, and reads no answer after that.',
    file: ENDS,
    title: 'a passed deadline',
  },
  CANCELLED: {
    why: 'A client that has cancelled reads no answer.',
    file: 'test/unit/wire/request-reader.test.ts',
    title: 'waits after the second message until one was sent, and fails on abort',
  },
  UNIMPLEMENTED: {
    why: 'The clients call methods of the server, with one message or a stream as these take them.',
    file: ENDS,
    title: 'an unknown method',
  },
  INTERNAL: {
    why: 'It is a fault of the server.',
    file: 'test/unit/wire/status.test.ts',
    title: 'does not send the message of an unexpected error',
  },
};
