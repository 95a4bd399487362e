/** The state of a training run between two batches, and its conversion to and from a checkpoint. */
import { createHash } from 'node:crypto';
import { SaladError } from '../../../errors/index.js';
import type { Adam } from './adam.js';
import { type Anchors, NO_ANCHORS } from './anchors.js';
import type { SaladConfig } from './config.js';
import type { TrainingMemory } from './memory.js';
import type { EpochRecord, LossSums } from './progress.js';
import type { TrainableNetwork } from './trainable-network.js';

/** A named array of a checkpoint. */
export interface StateTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

export interface CheckpointMeta {
  readonly formatVersion: 1;
  readonly configSha256: string;
  readonly dataSha256: string;
  readonly seed: number;
  readonly backend: string;
  /** The next batch: epoch (over the whole run) and step within it. They are part of the keys of random streams. */
  readonly epoch: number;
  readonly step: number;
  readonly adamStep: number;
  readonly sums: LossSums;
  readonly history: readonly EpochRecord[];
}

export interface Checkpoint {
  readonly meta: CheckpointMeta;
  readonly tensors: ReadonlyMap<string, StateTensor>;
}

/** The mutable state of a run. */
export interface RunState {
  readonly network: TrainableNetwork;
  readonly adam: Adam;
  readonly memory: TrainingMemory;
  anchors: Anchors;
  epoch: number;
  step: number;
  sums: LossSums;
  history: EpochRecord[];
}

/** The facts in which a checkpoint and the run that resumes it must agree. */
export type RunIdentity = Pick<CheckpointMeta, 'configSha256' | 'dataSha256' | 'seed' | 'backend'>;

export function configSha256(config: SaladConfig): string {
  return createHash('sha256').update(JSON.stringify(config)).digest('hex');
}

/** Neighbour lists as a table int32 [anchors, k]; −1 where an anchor has fewer than k neighbours. */
function tabulateNeighbours({ anchors, neighbours }: Anchors, k: number): Int32Array {
  const table = new Int32Array(anchors.length * k).fill(-1);
  anchors.forEach((anchor, i) => {
    table.set(neighbours.get(anchor)!, i * k);
  });
  return table;
}

export async function createCheckpoint(
  state: RunState,
  identity: RunIdentity,
  neighbours: number,
): Promise<Checkpoint> {
  const tensors = new Map<string, StateTensor>();
  for (const [name, tensor] of await state.network.exportWeights()) tensors.set(`weights/${name}`, tensor);
  for (const [name, tensor] of await state.adam.exportState()) tensors.set(`adam/${name}`, tensor);
  const { rows, dimension, values } = state.memory;
  tensors.set('memory', { shape: [rows, dimension], data: values.slice() });
  const { anchors } = state.anchors;
  if (anchors.length > 0) {
    tensors.set('anchors', { shape: [anchors.length], data: anchors });
    tensors.set('neighbours', {
      shape: [anchors.length, neighbours],
      data: tabulateNeighbours(state.anchors, neighbours),
    });
  }
  const meta: CheckpointMeta = {
    formatVersion: 1,
    ...identity,
    epoch: state.epoch,
    step: state.step,
    adamStep: state.adam.step,
    sums: { ...state.sums },
    history: [...state.history],
  };
  return { meta, tensors };
}

/**
 * Checks that a run may resume a checkpoint.
 *
 * @throws SaladError CONFIGURATION_INVALID for another configuration, seed or backend, TRAINING_DATA_INVALID for other
 *   tiles
 */
export function checkIdentity(meta: CheckpointMeta, identity: RunIdentity): void {
  const refuse = (reason: 'CONFIGURATION_INVALID' | 'TRAINING_DATA_INVALID', difference: string): never => {
    throw new SaladError(
      reason,
      `the checkpoint cannot be resumed: ${difference}; train from the start without resuming`,
    );
  };
  if (meta.configSha256 !== identity.configSha256) {
    refuse('CONFIGURATION_INVALID', 'the configuration differs');
  }
  if (meta.seed !== identity.seed) {
    refuse('CONFIGURATION_INVALID', `it was written with seed ${meta.seed}, not ${identity.seed}`);
  }
  if (meta.backend !== identity.backend) {
    refuse('CONFIGURATION_INVALID', `it was written on backend ${meta.backend}, not ${identity.backend}`);
  }
  if (meta.dataSha256 !== identity.dataSha256) refuse('TRAINING_DATA_INVALID', 'the training tiles differ');
}

/** The float tensors whose names start with a prefix, without the prefix. */
function floatTensors(
  tensors: Checkpoint['tensors'],
  prefix: string,
): Map<string, { shape: readonly number[]; data: Float32Array }> {
  const found = new Map<string, { shape: readonly number[]; data: Float32Array }>();
  for (const [name, { shape, data }] of tensors) {
    if (name.startsWith(prefix) && data instanceof Float32Array) {
      found.set(name.slice(prefix.length), { shape, data });
    }
  }
  return found;
}

function readAnchors(tensors: Checkpoint['tensors']): Anchors {
  const anchors = tensors.get('anchors');
  const table = tensors.get('neighbours');
  if (!(anchors?.data instanceof Int32Array) || !(table?.data instanceof Int32Array)) return NO_ANCHORS;
  const k = table.shape[1]!;
  const neighbours = new Map<number, Int32Array>();
  anchors.data.forEach((anchor, i) => {
    const row = (table.data as Int32Array).slice(i * k, (i + 1) * k);
    neighbours.set(
      anchor,
      row.filter((neighbour) => neighbour >= 0),
    );
  });
  return { anchors: anchors.data, neighbours };
}

/** Replaces the state of a new run by that of a checkpoint. */
export function restoreRun(state: RunState, { meta, tensors }: Checkpoint): void {
  state.network.importWeights(floatTensors(tensors, 'weights/'));
  state.adam.importState(meta.adamStep, floatTensors(tensors, 'adam/'));
  state.memory.values.set(tensors.get('memory')!.data as Float32Array);
  state.anchors = readAnchors(tensors);
  state.epoch = meta.epoch;
  state.step = meta.step;
  state.sums = { ...meta.sums };
  state.history = [...meta.history];
}
