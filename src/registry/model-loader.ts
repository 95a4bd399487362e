/**
 * Loads and unloads versions while others serve, one after another. A version is read and hashed in a separate thread,
 * checked with its golden batch, loaded in every worker, and then serves at once for all new acquisitions.
 */
import type { ServedModel } from '../acquisition/index.js';
import type { Bundle } from '../bundle/bundle.js';
import { checkFileSizes, readManifest } from '../bundle/files.js';
import { type Candidate, modelKey } from '../bundle/model-folders.js';
import { readBundleInThread } from '../bundle/read-in-thread.js';
import type { Precision } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import type { EnginePool } from '../pool/engine-pool.js';
import type { Logger } from '../telemetry/logger.js';
import type { Telemetry } from '../telemetry/telemetry.js';
import { SerialQueue } from '../util/serial-queue.js';
import { logModel } from './log-model.js';
import { poolModelOf, takesAsLong } from './served-model.js';
import type { VersionTable } from './version-table.js';

export interface LoaderParts {
  readonly pool: EnginePool;
  readonly table: VersionTable;
  readonly precision: Precision;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  readonly serve: (bundle: Bundle) => ServedModel;
}

export class ModelLoader {
  private readonly changes = new SerialQueue();
  private isClosed = false;
  /** Called after every load, successful or not, and every unload: both leave memory that can be released. */
  onMemoryFreed: (() => void) | undefined;

  constructor(private readonly parts: LoaderParts) {}

  /**
   * Loads a version, unless it serves. Other versions are not disturbed, whatever is wrong with this one.
   * @throws SaladError BUNDLE_INVALID where it cannot be served, or is loaded with another content; ENGINE_FAILED where
   *   the engine was lost meanwhile, DRAINING
   */
  load(candidate: Candidate): Promise<ServedModel> {
    return this.inTurn(() => this.loadNow(candidate));
  }

  /** Unloads a version after its last acquisition; new ones do not get it from now on. */
  unload(key: string): void {
    this.parts.table.setUnloading(key);
  }

  /** Frees a version that is unloading and has no acquisition left. */
  free(key: string): void {
    this.inTurn(() => this.freeNow(key)).catch((error: unknown) => {
      this.parts.logger.error({ err: error, model: key }, 'a model was not unloaded');
    });
  }

  /** Waits for the load in progress; those that wait are refused. */
  async close(): Promise<void> {
    this.isClosed = true;
    await this.changes.drained();
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.changes.run(() => {
      if (this.isClosed) throw new SaladError('DRAINING', 'the server is shutting down');
      return work();
    });
  }

  private async loadNow(candidate: Candidate): Promise<ServedModel> {
    const { table, logger, telemetry } = this.parts;
    const key = modelKey(candidate);
    const present = table.loaded(key);
    if (present !== undefined) {
      await refuseOtherContent(candidate, present);
      table.revive(key);
      return present;
    }
    const startedAt = performance.now();
    table.setLoading(candidate);
    try {
      const model = await this.readAndTry(candidate);
      table.setServing(model);
      const loadMs = Math.round(performance.now() - startedAt);
      telemetry.modelLoaded(key, 'loaded', loadMs);
      logModel(model, this.parts.pool, this.parts.precision, logger, { loadMs });
      return model;
    } catch (error) {
      const known = SaladError.from(error);
      table.setRefused(candidate, known.message);
      telemetry.modelLoaded(key, 'refused', performance.now() - startedAt);
      throw known;
    } finally {
      this.onMemoryFreed?.();
    }
  }

  private async readAndTry(candidate: Candidate): Promise<ServedModel> {
    const { pool, table, precision, serve } = this.parts;
    const bundle = await readBundleInThread(candidate.directory, candidate);
    const similar = table.serving.find(
      (model) => model.name === candidate.name && takesAsLong(model, bundle),
    );
    await pool.add(poolModelOf(bundle, precision), similar?.key);
    return serve(bundle);
  }

  private async freeNow(key: string): Promise<void> {
    const { pool, table, telemetry, logger } = this.parts;
    // It may serve again, or an acquisition may have begun meanwhile.
    if (table.stateOf(key) !== 'unloading' || !table.isIdle(key)) return;
    try {
      await pool.remove(key);
    } finally {
      table.delete(key);
      telemetry.forgetModel(key);
      this.onMemoryFreed?.();
    }
    logger.info({ model: key }, 'model unloaded');
  }
}

/** Answers name a version: what it scores must not change while it is loaded. @throws SaladError BUNDLE_INVALID */
async function refuseOtherContent(candidate: Candidate, model: ServedModel): Promise<void> {
  const fault = await contentFault(candidate, model);
  if (fault !== '') throw new SaladError('BUNDLE_INVALID', fault);
}

/**
 * Says how the folder of a loaded version differs from what was loaded: another bundle, or files of other sizes.
 * @returns empty where it does not
 * @throws SaladError BUNDLE_INVALID where the manifest cannot be read
 */
export async function contentFault(candidate: Candidate, { key, sha256 }: ServedModel): Promise<string> {
  const found = await readManifest(candidate.directory, candidate);
  if (found.sha256 !== sha256) {
    return (
      `${key} is loaded with the bundle ${sha256}, and its folder now has the bundle ${found.sha256}: ` +
      'give the new one a version of its own, or unload the version first'
    );
  }
  return checkFileSizes(candidate.directory, found.manifest).then(
    () => '',
    // The loaded version still serves, but it could not be loaded again.
    (error: unknown) =>
      `${key} serves what was loaded, but its folder is damaged: ${SaladError.from(error).message}`,
  );
}
