/**
 * Every metric of the server: name, unit, description, attributes. Names follow the OpenTelemetry semantic conventions
 * as far as these define a name. docs/reference/metrics.md is generated from this table.
 */
export interface Metric {
  readonly kind: 'histogram' | 'counter' | 'gauge';
  readonly unit: string;
  readonly description: string;
  readonly attributes: readonly string[];
  /** Upper bounds of a histogram's buckets. */
  readonly buckets?: readonly number[];
  /** How the values of several processes become one, of a gauge. @default 'max' */
  readonly combine?: 'sum' | 'max';
}

const DURATION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const BATCH_SIZE_BUCKETS = [1, 2, 4, 8, 16, 32, 64];
const P_VALUE_BUCKETS = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1];

export const METRICS = {
  'rpc.server.call.duration': {
    kind: 'histogram',
    unit: 's',
    description: 'Duration of inbound calls.',
    attributes: ['rpc.system.name', 'rpc.method', 'rpc.response.status_code'],
    buckets: DURATION_BUCKETS,
  },
  'salad.acquisition.duration': {
    kind: 'histogram',
    unit: 's',
    description:
      'Time from the header to the aggregate. With the decision none: of tiles scored without their image, by the Open Inference Protocol.',
    attributes: ['salad.model', 'salad.decision'],
    buckets: DURATION_BUCKETS,
  },
  'salad.acquisition.first_score.duration': {
    kind: 'histogram',
    unit: 's',
    description: 'Time from the header to the first patch score.',
    attributes: ['salad.model'],
    buckets: DURATION_BUCKETS,
  },
  'salad.tile.queue.duration': {
    kind: 'histogram',
    unit: 's',
    description:
      'Time from queued to dispatched, mean over the tiles of an acquisition. Use it for autoscaling.',
    attributes: ['salad.model'],
    buckets: DURATION_BUCKETS,
  },
  'salad.batch.duration': {
    kind: 'histogram',
    unit: 's',
    description: 'Engine time of a batch.',
    attributes: ['salad.model', 'salad.engine'],
    buckets: DURATION_BUCKETS,
  },
  'salad.batch.size': {
    kind: 'histogram',
    unit: '{tile}',
    description:
      'Number of tiles of a batch. salad.release is the reason for its dispatch: full, slot (a slot was free and no more tiles waited), retry.',
    attributes: ['salad.model', 'salad.engine', 'salad.release'],
    buckets: BATCH_SIZE_BUCKETS,
  },
  'salad.acquisition.p_value': {
    kind: 'histogram',
    unit: '1',
    description:
      'Conformal p-values of image scores; uniformly distributed while images resemble the calibration images.',
    attributes: ['salad.model'],
    buckets: P_VALUE_BUCKETS,
  },
  'salad.patches': {
    kind: 'counter',
    unit: '{patch}',
    description: 'Patches by outcome: scored, skipped as background, failed, missing.',
    attributes: ['salad.model', 'salad.outcome'],
  },
  'salad.calls.active': {
    kind: 'gauge',
    unit: '{call}',
    description: 'Calls in progress.',
    attributes: [],
    combine: 'sum',
  },
  'salad.tiles.queued': {
    kind: 'gauge',
    unit: '{tile}',
    description: 'Tiles waiting for an engine.',
    attributes: [],
    combine: 'sum',
  },
  'salad.slots.free': {
    kind: 'gauge',
    unit: '{slot}',
    description: 'Batch slots that are free: not being filled, run or read.',
    attributes: [],
    combine: 'sum',
  },
  'salad.engine.losses': {
    kind: 'counter',
    unit: '{engine}',
    description:
      'Engines lost while they scored, by salad.loss: died, failed, hung. The next engine in the fallback order took over.',
    attributes: ['salad.loss'],
  },
  'salad.bank.prototypes': {
    kind: 'gauge',
    unit: '{prototype}',
    description: 'Rows of the memory bank.',
    attributes: ['salad.model'],
  },
  'salad.models': {
    kind: 'gauge',
    unit: '{model}',
    description:
      'Versions of models by salad.state: serving, loading, unloading (until the last acquisition with it ends), refused.',
    attributes: ['salad.state'],
  },
  'salad.model.load.duration': {
    kind: 'histogram',
    unit: 's',
    description: 'Time of loading a version while others serve, by salad.outcome: loaded, refused.',
    attributes: ['salad.model', 'salad.outcome'],
    buckets: DURATION_BUCKETS,
  },
  'salad.score.drift': {
    kind: 'gauge',
    unit: '1',
    description:
      'Evidence that images score unlike those of the calibration: log10 of the wealth of a conformal test martingale (docs/explanation/drift.md). 0: none; 4 and above: an alarm.',
    attributes: ['salad.model'],
  },
} as const satisfies Record<string, Metric>;

export type MetricName = keyof typeof METRICS;
