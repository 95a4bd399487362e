/** Loads the models of the models folder, serves them with one pool, and finds them by name and version. */
import { AcquisitionBudget, type ServedModel, type TileSlot } from '../acquisition/index.js';
import { Batcher } from '../batching/index.js';
import type { Bundle } from '../bundle/bundle.js';
import { modelKey, openBundles } from '../bundle/repository.js';
import type { AdmissionConfig } from '../config/sections/admission.js';
import type { BatchingConfig } from '../config/sections/batching.js';
import type { EngineConfig } from '../config/sections/engine.js';
import type { ModelConfig } from '../config/sections/models.js';
import type { QuotaConfig } from '../config/sections/quotas.js';
import { type EngineName, type Precision, supportedPrecision } from '../engines/engine.js';
import { callerText, SaladError } from '../errors/index.js';
import { alignsInTile } from '../geometry/geometry.js';
import { ALIGNMENT_NUMBERS } from '../imaging/alignment-map.js';
import { EnginePool, type PoolModel, type PoolModelStatus, type PoolSlot } from '../pool/engine-pool.js';
import type { Logger } from '../telemetry/logger.js';
import type { Telemetry } from '../telemetry/telemetry.js';

/** A stream with a deadline nearer than this is served before the round-robin between streams. */
const URGENCY_HORIZON_MS = 1000;

/** The sections that the registry reads. */
export type RegistryConfig = ModelConfig & EngineConfig & BatchingConfig & AdmissionConfig & QuotaConfig;

export interface RegistryOptions {
  /** File of the engine worker threads; see WorkerSetOptions. */
  readonly workerEntry?: string | undefined;
}

export class ModelRegistry {
  private constructor(
    readonly pool: EnginePool,
    private readonly batcher: Batcher<PoolSlot>,
    readonly budget: AcquisitionBudget,
    /** Sorted by name and version. */
    private readonly models: readonly ServedModel[],
  ) {}

  /**
   * Reads every bundle of the models folder, starts the engine and warms it up. A bundle that is invalid, or whose
   * golden scores the engine does not reproduce, is logged and not served; the others are served.
   * @throws SaladError BUNDLE_INVALID or CONFIGURATION_INVALID if no bundle can be served, ENGINE_UNAVAILABLE
   */
  static async open(
    config: RegistryConfig,
    logger: Logger,
    telemetry: Telemetry,
    { workerEntry }: RegistryOptions = {},
  ): Promise<ModelRegistry> {
    const validBundles = await readBundles(config.models, logger);
    const pool = await startPool(validBundles, config, logger, workerEntry);
    for (const [model, error] of pool.refused) {
      logger.error({ err: error, model, engine: pool.engine }, 'a model bundle was refused');
    }
    const bundles = validBundles.filter(({ manifest }) => !pool.refused.has(modelKey(manifest)));
    const budget = new AcquisitionBudget({
      maxAcquisitions: config.maxConcurrentAcquisitions,
      maxBytes: config.maxAcquisitionBytes,
      retryAfterMs: config.retryDelayMs,
      peerShareRatio: config.peerShareRatio,
    });
    const maxTiles = Math.max(...bundles.map(({ geometry }) => geometry.tileCount));
    const batcher = new Batcher<PoolSlot>({
      executor: pool,
      limits: {
        maxQueuedTiles: config.maxConcurrentAcquisitions * maxTiles,
        urgencyHorizonMs: URGENCY_HORIZON_MS,
      },
      urgentShare: config.statSharePercent / 100,
      peersTakeTurns: config.peerShareRatio > 0,
      admission: { maxQueueMs: config.maxQueueMs, maxQueueRatio: config.maxQueueRatio },
      now: () => performance.now(),
      onBatch: (report) => telemetry.batchRan(report),
    });
    const models = bundles.map((bundle) => servedModel(bundle, pool, batcher, budget));
    logModels(models, pool, supportedPrecision(config.precision), logger);
    return new ModelRegistry(pool, batcher, budget, models);
  }

  /** The engine that scores now; it changes on fail-over and failback. */
  get engine(): EngineName {
    return this.pool.engine;
  }

  /** Number of tiles waiting for an engine. */
  get queuedTiles(): number {
    return this.batcher.queuedTiles;
  }

  /** Returns the served models, sorted by name and version. */
  list(): readonly ServedModel[] {
    return this.models;
  }

  /** Finds a model. @param version default: the highest @throws SaladError MODEL_NOT_FOUND */
  find(name: string, version?: number): ServedModel {
    const versions = this.models.filter((each) => each.name === name);
    const model = version === undefined ? versions.at(-1) : versions.find((each) => each.version === version);
    if (model !== undefined) return model;
    const shownName = callerText(name);
    const requested = version === undefined ? shownName : `${shownName}@${version}`;
    const loaded = this.models.map(({ key }) => key).join(', ');
    throw new SaladError('MODEL_NOT_FOUND', `model ${requested} is not loaded; loaded: ${loaded}`);
  }

  async close(): Promise<void> {
    await this.pool.close();
  }
}

type PoolConfig = ModelConfig & EngineConfig & BatchingConfig;

function startPool(
  bundles: readonly Bundle[],
  config: PoolConfig,
  logger: Logger,
  workerEntry: string | undefined,
): Promise<EnginePool> {
  return EnginePool.start({
    engine: config.engine,
    workers: config.workers,
    sessionThreads: config.sessionThreads,
    openvinoFolder: config.openvinoFolder,
    onnxProvider: config.onnxProvider,
    maxBatchSize: config.maxBatchSize,
    search: {
      exactRowsMax: config.exactSearchRowsMax,
      ...(config.searchIndexFolder === '' ? {} : { indexDirectory: config.searchIndexFolder }),
    },
    models: bundles.map((bundle) => poolModelOf(bundle, supportedPrecision(config.precision))),
    watchdogMs: config.engineWatchdogMs,
    backOffMs: config.engineBackOffMs,
    backOffMaxMs: config.engineBackOffMaxMs,
    standbyDelayMs: config.engineStandbyDelayMs,
    workerEntry,
    logger,
  });
}

/** Logs how each model is served, with a warning where it is not in the requested precision. */
function logModels(
  models: readonly ServedModel[],
  pool: EnginePool,
  requested: Precision,
  logger: Logger,
): void {
  const { engine, device } = pool;
  for (const { key, sha256 } of models) {
    const status = pool.modelStatus(key) as PoolModelStatus;
    logger.info({ model: key, bundleSha256: sha256, engine, device, ...status }, 'model ready');
    const { precision } = status;
    if (precision === requested) continue;
    logger.warn(
      { model: key, engine, asked: requested, precision },
      'the model does not run in the requested precision',
    );
  }
}

/** What the engine pool needs of a bundle. */
function poolModelOf(bundle: Bundle, precision: Precision): PoolModel {
  const { manifest, geometry } = bundle;
  return {
    key: modelKey(manifest),
    bundle,
    precision,
    shape: {
      tilePixels: geometry.tilePixels,
      patchCount: geometry.patchesPerTile,
      dimension: manifest.bank.dimension,
      neighbourCount: manifest.scoring.neighbourCount,
      alignmentNumbers: alignsInTile(manifest, geometry) ? ALIGNMENT_NUMBERS : 0,
    },
  };
}

function servedModel(
  bundle: Bundle,
  pool: EnginePool,
  batcher: Batcher<TileSlot>,
  budget: AcquisitionBudget,
): ServedModel {
  const { manifest, geometry, sha256, bank, plausibility } = bundle;
  return {
    key: modelKey(manifest),
    name: manifest.name,
    version: manifest.version,
    sha256,
    manifest,
    geometry,
    plausibility,
    prototypeSources: bank.sources,
    get engine() {
      return pool.engine;
    },
    get search() {
      return pool.modelStatus(modelKey(manifest))?.search ?? '';
    },
    batcher,
    budget,
  };
}

/**
 * Reads the bundles in order of name and version. A refused bundle does not stop the start of the others.
 * @throws SaladError the error of the first refused bundle, or CONFIGURATION_INVALID, if no bundle is valid
 */
async function readBundles(folder: string, logger: Logger): Promise<readonly Bundle[]> {
  const bundles: Bundle[] = [];
  const ignoredFolders: string[] = [];
  let firstError: SaladError | undefined;
  for await (const finding of openBundles(folder)) {
    if (finding.kind === 'bundle') {
      bundles.push(finding.bundle);
    } else if (finding.kind === 'refused') {
      const { directory, model, error } = finding;
      firstError ??= error;
      logger.error({ err: error, directory, model }, 'a model bundle was refused');
    } else {
      const { directory, reason } = finding;
      ignoredFolders.push(`${directory}: ${reason}`);
      logger.info({ directory, reason }, 'a folder is not a model bundle and was ignored');
    }
  }
  if (bundles.length > 0) return bundles;
  const details = ignoredFolders.length === 0 ? '' : ` (${ignoredFolders.join('; ')})`;
  throw (
    firstError ??
    new SaladError('CONFIGURATION_INVALID', `models: no NAME/VERSION/ under ${folder}${details}`)
  );
}
