/**
 * Every metric of the gateway: name, unit, description, attributes. docs/reference/gateway-metrics.md is generated from
 * this table. Attributes are states, reasons and names of settings: no value of a data set, no title or address of a
 * peer, no UID.
 */
import type { Metric } from '../../../../src/telemetry/metrics.js';

/** Of meters and tracers. */
export const INSTRUMENTATION_NAME = 'salad-modality';

/** Where instances come in. */
export type InputKind = 'dicom' | 'stow' | 'watch';

/** From a tenth of a second to a day: results may wait for an archive. */
const WAIT_BUCKETS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400];
const TRANSFER_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

export const GATEWAY_METRICS = {
  'salad.modality.instances': {
    kind: 'gauge',
    unit: '{instance}',
    description:
      'Instances in the inbox by salad.state: received, streaming, scored, delivered, dead-letter.',
    attributes: ['salad.state'],
  },
  'salad.modality.dead_letters': {
    kind: 'gauge',
    unit: '{instance}',
    description:
      'Dead letters by salad.reason: FILE_LOST (missing or damaged), GATEWAY_ENDED (while it was scored, ten times), DELIVERY_REJECTED (by an archive), a reason of docs/reference/errors.md or a gRPC status, OTHER.',
    attributes: ['salad.reason'],
  },
  'salad.modality.deliveries': {
    kind: 'gauge',
    unit: '{delivery}',
    description: 'Deliveries by salad.destination and salad.state: waiting, delivered, dead-letter.',
    attributes: ['salad.destination', 'salad.state'],
  },
  'salad.modality.deliveries.orphaned': {
    kind: 'gauge',
    unit: '{delivery}',
    description: 'Deliveries that wait for a destination that is not in the settings: they wait for ever.',
    attributes: [],
  },
  'salad.modality.conflicts': {
    kind: 'gauge',
    unit: '{instance}',
    description: 'Instances set aside: their SOP Instance UID was known with other content.',
    attributes: [],
  },
  'salad.modality.oldest_unscored.age': {
    kind: 'gauge',
    unit: 's',
    description: 'Since the oldest instance without a score was received; 0 where none waits.',
    attributes: [],
  },
  'salad.modality.oldest_undelivered.age': {
    kind: 'gauge',
    unit: 's',
    description:
      'Since the oldest instance whose result waits for salad.destination was received; 0 where none waits.',
    attributes: ['salad.destination'],
  },
  'salad.modality.inbox.bytes': {
    kind: 'gauge',
    unit: 'By',
    description: 'Size of the files of the instances in the inbox.',
    attributes: [],
  },
  'salad.modality.disk.free': {
    kind: 'gauge',
    unit: 'By',
    description: 'Bytes that may still be written to the disk of the inbox.',
    attributes: [],
  },
  'salad.modality.disk.kept_free': {
    kind: 'gauge',
    unit: 'By',
    description: 'The setting keepFreeMib: with fewer free bytes instances are refused.',
    attributes: [],
  },
  'salad.modality.watch.unreadable': {
    kind: 'gauge',
    unit: '{folder}',
    description: 'Watched folders that cannot be read, or not as a whole: files in them wait.',
    attributes: [],
  },
  'salad.modality.associations.open': {
    kind: 'gauge',
    unit: '{association}',
    description: 'Associations of modalities that are open.',
    attributes: [],
  },
  'salad.modality.associations.failed': {
    kind: 'counter',
    unit: '{association}',
    description:
      'Associations that were refused (salad.reason: calledAeTitle, callingAeTitle, localLimit) or aborted (aborted).',
    attributes: ['salad.reason'],
  },
  'salad.modality.received': {
    kind: 'counter',
    unit: '{instance}',
    description:
      'Instances that were acknowledged, by salad.input (dicom, stow, watch) and salad.outcome: stored, duplicate (known with the same content).',
    attributes: ['salad.input', 'salad.outcome'],
  },
  'salad.modality.refused': {
    kind: 'counter',
    unit: '{instance}',
    description:
      'Instances that were refused, by salad.input and salad.reason: a reason of docs/reference/errors.md, of C-STORE also the status, such as 0x0122. Of stow also whole requests: HTTP_401.',
    attributes: ['salad.input', 'salad.reason'],
  },
  'salad.modality.scoring.attempts': {
    kind: 'counter',
    unit: '{attempt}',
    description:
      'Attempts to score an instance, by salad.outcome: scored, server (no server can score now), attempt (repeated, ten times at most), instance (its file cannot be scored).',
    attributes: ['salad.outcome'],
  },
  'salad.modality.delivery.attempts': {
    kind: 'counter',
    unit: '{attempt}',
    description:
      'Attempts to deliver, by salad.destination and salad.outcome: delivered (all objects of a result), rejected (an object), unavailable (the archive is unreachable, full, fails, refuses access or answers unclearly), uncommitted (it did not commit the storage of what it took).',
    attributes: ['salad.destination', 'salad.outcome'],
  },
  'salad.modality.receive.duration': {
    kind: 'histogram',
    unit: 's',
    description: 'From the begin of a transfer until the instance is durable and may be acknowledged.',
    attributes: ['salad.input'],
    buckets: TRANSFER_BUCKETS,
  },
  'salad.modality.score.duration': {
    kind: 'histogram',
    unit: 's',
    description: 'From durable to scored, waiting included, by salad.priority: stat, routine.',
    attributes: ['salad.priority'],
    buckets: WAIT_BUCKETS,
  },
  'salad.modality.delivery.duration': {
    kind: 'histogram',
    unit: 's',
    description: 'From scored to delivered, waiting included.',
    attributes: ['salad.destination'],
    buckets: WAIT_BUCKETS,
  },
} as const satisfies Record<string, Metric>;

export type GatewayMetricName = keyof typeof GATEWAY_METRICS;
