/**
 * Main thread. Tries a model that is to be added in a thread of its own, beside those that serve: a model that crashes
 * or hangs an engine must not cost them.
 */

import type { EngineName } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import type { PoolModel, PoolModelStatus } from './models.js';
import { startWorkerSet, type WorkerSetOptions } from './start-worker-set.js';

/** See WARM_UP_MS. */
export interface TrialOptions {
  readonly engine: EngineName;
  readonly preference: EngineName | 'auto';
  readonly warmUpMs: number;
  readonly limitMs: number;
  /** What was measured of a model that takes as long, if there is one: nothing is measured again then. */
  readonly similar?: PoolModelStatus | undefined;
  readonly onError: (error: Error) => void;
}

/**
 * Loads the model in a thread of low priority, runs its golden check and finds its batch sizes.
 * @throws SaladError BUNDLE_INVALID where the engine refuses the model, does not reproduce its golden scores, crashes
 *   or hangs
 */
export async function tryModel(
  options: Omit<WorkerSetOptions, 'models'>,
  model: PoolModel,
  { engine, preference, warmUpMs, limitMs, similar, onError }: TrialOptions,
): Promise<PoolModelStatus> {
  const measured = similar === undefined ? {} : { measured: new Map([[model.key, similar]]) };
  const set = await startWorkerSet(
    { ...options, config: { ...options.config, workers: 1 }, models: [model], isBackground: true },
    { engines: [engine], requireAll: true, preference, warmUpMs, limitMs, onError, ...measured },
  ).catch((error: unknown) => {
    const { message } = SaladError.from(error);
    throw new SaladError('BUNDLE_INVALID', `${model.key} was refused by ${engine}: ${message}`, {
      cause: error,
    });
  });
  const status = set.statuses.get(model.key)!;
  await set.close();
  return status;
}
