/** The models that are served: loaded and unloaded while others serve, and found by name and version. */
import { AcquisitionBudget, type ServedModel } from '../acquisition/index.js';
import { Batcher } from '../batching/index.js';
import type { Bundle } from '../bundle/bundle.js';
import { listModelFolders, modelKey } from '../bundle/model-folders.js';
import type { AdmissionConfig } from '../config/sections/admission.js';
import type { BatchingConfig } from '../config/sections/batching.js';
import type { EngineConfig } from '../config/sections/engine.js';
import type { ModelConfig } from '../config/sections/models.js';
import type { QuotaConfig } from '../config/sections/quotas.js';
import { parseVersionPolicy } from '../config/sections/version-policy.js';
import { type EngineName, supportedPrecision } from '../engines/engine.js';
import { callerText, SaladError } from '../errors/index.js';
import { EnginePool, type PoolSlot } from '../pool/engine-pool.js';
import type { Logger } from '../telemetry/logger.js';
import type { Telemetry } from '../telemetry/telemetry.js';
import { FolderWatch } from './folder-watch.js';
import { logModel } from './log-model.js';
import { ModelLoader } from './model-loader.js';
import { candidatesByName, type FoldersRead, readFolders } from './read-folders.js';
import { poolModelOf, servedModel } from './served-model.js';
import { type ModelLease, type ModelVersion, VersionTable } from './version-table.js';

export type { ModelLease, ModelVersion, VersionState } from './version-table.js';

/** A stream with a deadline nearer than this is served before the round-robin between streams. */
const URGENCY_HORIZON_MS = 1000;

/** The sections that the registry reads. */
export type RegistryConfig = ModelConfig & EngineConfig & BatchingConfig & AdmissionConfig & QuotaConfig;

export interface RegistryOptions {
  /** File of the engine worker threads; see WorkerSetOptions. */
  readonly workerEntry?: string | undefined;
  /** Cores for the engine. @default those that this process may use */
  readonly cores?: number | undefined;
}

interface RegistryParts {
  readonly config: RegistryConfig;
  readonly pool: EnginePool;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
}

export class ModelRegistry {
  readonly pool: EnginePool;
  readonly budget: AcquisitionBudget;
  private readonly batcher: Batcher<PoolSlot>;
  private readonly table = new VersionTable((key) => this.loader.free(key));
  private readonly loader: ModelLoader;
  private readonly directories: readonly string[];
  private readonly watch: FolderWatch;

  private readonly logger: Logger;

  private constructor({ config, pool, logger, telemetry }: RegistryParts) {
    this.logger = logger;
    this.pool = pool;
    this.budget = new AcquisitionBudget({
      maxAcquisitions: config.maxConcurrentAcquisitions,
      maxBytes: config.maxAcquisitionBytes,
      retryAfterMs: config.retryDelayMs,
      peerShareRatio: config.peerShareRatio,
    });
    const { table } = this;
    this.batcher = new Batcher<PoolSlot>({
      executor: pool,
      limits: {
        get maxQueuedTiles() {
          return config.maxConcurrentAcquisitions * table.tilesMax;
        },
        urgencyHorizonMs: URGENCY_HORIZON_MS,
      },
      urgentShare: config.statSharePercent / 100,
      peersTakeTurns: config.peerShareRatio > 0,
      admission: config,
      now: () => performance.now(),
      onBatch: (report) => telemetry.batchRan(report),
    });
    const precision = supportedPrecision(config.precision);
    const serve = (bundle: Bundle) => this.servedModel(bundle);
    this.loader = new ModelLoader({ pool, table, precision, logger, telemetry, serve });
    this.directories = config.models;
    const policy = parseVersionPolicy(config.modelVersions)!;
    const { directories, loader } = this;
    const intervalMs = config.modelsPollMs;
    this.watch = new FolderWatch({ directories, policy, intervalMs, table, loader, logger });
    if (intervalMs > 0) this.watch.start();
  }

  /**
   * Reads the bundles that the configuration selects, starts the engine and warms it up. A bundle that is invalid, or
   * whose golden scores the engine does not reproduce, is logged and not served; the others are served.
   * @throws SaladError BUNDLE_INVALID or CONFIGURATION_INVALID if no bundle can be served, ENGINE_UNAVAILABLE
   */
  static async open(
    config: RegistryConfig,
    logger: Logger,
    telemetry: Telemetry,
    options: RegistryOptions = {},
  ): Promise<ModelRegistry> {
    const read = await readFolders(config.models, parseVersionPolicy(config.modelVersions)!, logger);
    const pool = await startPool(read.bundles, config, logger, options);
    for (const [model, error] of pool.refused) {
      logger.error({ err: error, model, engine: pool.engine }, 'a model bundle was refused');
    }
    const registry = new ModelRegistry({ config, pool, logger, telemetry });
    registry.fill(read);
    const precision = supportedPrecision(config.precision);
    for (const model of registry.list()) logModel(model, pool, precision, logger);
    return registry;
  }

  /** The engine that scores now; it changes on fail-over and failback. */
  get engine(): EngineName {
    return this.pool.engine;
  }

  /** Number of tiles waiting for an engine. */
  get queuedTiles(): number {
    return this.batcher.queuedTiles;
  }

  /** Tiles of the loaded model that has the most. */
  get tilesMax(): number {
    return this.table.tilesMax;
  }

  /** Returns the models that new acquisitions can select, sorted by name and version. */
  list(): readonly ServedModel[] {
    return this.table.serving;
  }

  /** Returns all versions with their states, also those that were refused, sorted by name and version. */
  versions(): readonly ModelVersion[] {
    return this.table.versions;
  }

  /**
   * Finds a model, to describe it: it may be unloaded at any time. To score, use `acquire`.
   * @param version default: the highest
   * @throws SaladError MODEL_NOT_FOUND
   */
  find(name: string, version?: number): ServedModel {
    return this.table.find(name, version);
  }

  /**
   * Finds a model and keeps it loaded until it is released: an acquisition ends on the version it began with.
   * @param version default: the highest
   * @throws SaladError MODEL_NOT_FOUND
   */
  acquire(name: string, version?: number): ModelLease {
    return this.table.acquire(name, version);
  }

  /** Calls the listener after every change of a version's state. @returns a function that removes it */
  onChange(listener: () => void): () => void {
    return this.table.onChange(listener);
  }

  /**
   * Loads a version from the models folders while others serve. It serves once the promise resolves; acquisitions
   * without a version then get the highest. Does nothing where the version serves already.
   * @param version default: the highest in the folders
   * @throws SaladError MODEL_NOT_FOUND where no folder has it, BUNDLE_INVALID with the reason where it cannot be served,
   *   ENGINE_FAILED where the engine was lost meanwhile, DRAINING
   */
  async load(name: string, version?: number): Promise<ServedModel> {
    const versions = candidatesByName(await listModelFolders(this.directories)).get(name) ?? [];
    const candidate = version === undefined ? versions[0] : versions.find((each) => each.version === version);
    if (candidate === undefined) {
      const found = versions.map(modelKey).join(', ') || 'none of that name';
      const requested = version === undefined ? callerText(name) : `${callerText(name)}@${version}`;
      throw new SaladError('MODEL_NOT_FOUND', `the models folders have no ${requested}; they have ${found}`);
    }
    const model = await this.loader.load(candidate).catch((thrown: unknown) => {
      const [key, error] = [modelKey(candidate), SaladError.from(thrown)];
      this.logger.error(
        { err: error, directory: candidate.directory, model: key },
        'a model bundle was refused',
      );
      if (error.reason !== 'BUNDLE_INVALID' || error.message.includes(key)) throw error;
      // The caller may have given no version, and does not know which is the highest.
      throw new SaladError(error.reason, `${key}: ${error.message}`, { cause: error });
    });
    this.watch.request(model.key);
    return model;
  }

  /**
   * No new acquisition gets the version from now on; it is unloaded after its last acquisition.
   * @param version default: every version of the model
   * @returns the versions
   * @throws SaladError MODEL_NOT_FOUND; LAST_MODEL where no model would be left
   */
  unload(name: string, version?: number): readonly ServedModel[] {
    this.find(name, version);
    const isMeant = (each: ServedModel) =>
      each.name === name && (version === undefined || each.version === version);
    const meant = this.list().filter(isMeant);
    const keys = meant.map(({ key }) => key);
    if (keys.length === this.list().length) {
      throw new SaladError(
        'LAST_MODEL',
        `${keys.join(', ')} cannot be unloaded: no model would be left; load another one first`,
      );
    }
    for (const key of keys) {
      // First, so that the watch does not load it again.
      this.watch.ignoreUntilChanged(key);
      this.loader.unload(key);
    }
    return meant;
  }

  /** Called when loading or unloading a model has left memory that can be released. */
  onMemoryFreed(listener: () => void): void {
    this.loader.onMemoryFreed = listener;
  }

  async close(): Promise<void> {
    await this.watch.close();
    await this.loader.close();
    await this.pool.close();
  }

  private fill({ bundles, refused }: FoldersRead): void {
    for (const bundle of bundles) {
      const error = this.pool.refused.get(modelKey(bundle.manifest));
      if (error === undefined) this.table.setServing(this.servedModel(bundle));
      else this.table.setRefused(bundle.manifest, error.message);
    }
    for (const { candidate, reason } of refused) this.table.setRefused(candidate, reason);
  }

  private servedModel(bundle: Bundle): ServedModel {
    return servedModel(bundle, this.pool, this.batcher, this.budget);
  }
}

function startPool(
  bundles: readonly Bundle[],
  config: RegistryConfig,
  logger: Logger,
  { workerEntry, cores }: RegistryOptions,
): Promise<EnginePool> {
  return EnginePool.start({
    config,
    cores,
    search: {
      exactRowsMax: config.exactSearchRowsMax,
      ...(config.searchIndexFolder === '' ? {} : { indexDirectory: config.searchIndexFolder }),
    },
    models: bundles.map((bundle) => poolModelOf(bundle, supportedPrecision(config.precision))),
    workerEntry,
    logger,
  });
}
