/** The loaded models: found on disk, run by one pool, looked up by name and version. */
import { AcquisitionBudget, type ServedModel, type TileSlot } from '../acquisition/index.js';
import { Batcher } from '../batching/index.js';
import type { Bundle } from '../bundle/bundle.js';
import { modelKey, openBundles } from '../bundle/repository.js';
import type { ServeConfig } from '../config/schema.js';
import type { EngineName, Precision } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import { alignsInTile } from '../geometry/geometry.js';
import { ALIGNMENT_NUMBERS } from '../imaging/alignment-map.js';
import { EnginePool, type PoolModel, type PoolModelStatus, type PoolSlot } from '../pool/engine-pool.js';
import type { Logger } from '../telemetry/logger.js';
import type { Telemetry } from '../telemetry/telemetry.js';

/** A deadline nearer than this goes before the round-robin between streams. */
const URGENCY_HORIZON_MS = 1000;

export interface RegistryOptions {
  /** See WorkerSetOptions. */
  readonly workerEntry?: string | undefined;
}

export class ModelRegistry {
  private constructor(
    readonly pool: EnginePool,
    private readonly batcher: Batcher<PoolSlot>,
    readonly budget: AcquisitionBudget,
    /** By name, then version. */
    private readonly models: readonly ServedModel[],
  ) {}

  /**
   * Reads every bundle of the models folder, starts the engine and warms it up. A bundle that is not sound, or whose
   * golden scores the engine does not reproduce, is logged and not served; the others are.
   * @throws SaladError BUNDLE_INVALID, CONFIGURATION_INVALID where nothing can be served, ENGINE_UNAVAILABLE
   */
  static async open(
    config: ServeConfig,
    logger: Logger,
    telemetry: Telemetry,
    { workerEntry }: RegistryOptions = {},
  ): Promise<ModelRegistry> {
    const found = await readBundles(config.models, logger);
    const pool = await EnginePool.start({
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
      models: found.map((bundle) => poolModelOf(bundle, config.precision)),
      watchdogMs: config.engineWatchdogMs,
      backOffMs: config.engineBackOffMs,
      backOffMaxMs: config.engineBackOffMaxMs,
      standbyDelayMs: config.engineStandbyDelayMs,
      workerEntry,
      logger,
    });
    for (const [model, error] of pool.refused) {
      logger.error({ err: error, model, engine: pool.engine }, 'a model bundle was refused');
    }
    const bundles = found.filter(({ manifest }) => !pool.refused.has(modelKey(manifest)));
    const budget = new AcquisitionBudget({
      maxAcquisitions: config.maxConcurrentAcquisitions,
      maxBytes: config.maxAcquisitionBytes,
      retryAfterMs: config.retryDelayMs,
    });
    const tilesMax = Math.max(...bundles.map(({ geometry }) => geometry.tileCount));
    const batcher = new Batcher<PoolSlot>({
      executor: pool,
      limits: {
        maxQueuedTiles: config.maxConcurrentAcquisitions * tilesMax,
        urgencyHorizonMs: URGENCY_HORIZON_MS,
      },
      admission: { maxQueueMs: config.maxQueueMs, maxQueueRatio: config.maxQueueRatio },
      now: () => performance.now(),
      onBatch: (report) => telemetry.batchRan(report),
    });
    const models = bundles.map((bundle) => servedModel(bundle, pool, batcher, budget));
    const { engine, device } = pool;
    for (const { key, sha256 } of models) {
      const status = pool.modelStatus(key) as PoolModelStatus;
      logger.info({ model: key, bundleSha256: sha256, engine, device, ...status }, 'model ready');
      if (status.precision === config.precision) continue;
      const asked = config.precision;
      const { precision } = status;
      logger.warn(
        { model: key, engine, asked, precision },
        'the model does not run in the precision asked for',
      );
    }
    return new ModelRegistry(pool, batcher, budget, models);
  }

  /** The one that serves now. */
  get engine(): EngineName {
    return this.pool.engine;
  }

  /** Tiles that wait for an engine. */
  get queuedTiles(): number {
    return this.batcher.queuedTiles;
  }

  list(): readonly ServedModel[] {
    return this.models;
  }

  /** The highest version where none is asked for. @throws SaladError MODEL_NOT_FOUND */
  find(name: string, version?: number): ServedModel {
    const versions = this.models.filter((model) => model.name === name);
    const found =
      version === undefined ? versions.at(-1) : versions.find((model) => model.version === version);
    if (found !== undefined) return found;
    const wanted = version === undefined ? name : `${name}@${version}`;
    const loaded = this.models.map((model) => model.key).join(', ');
    throw new SaladError('MODEL_NOT_FOUND', `model ${wanted} is not loaded; loaded: ${loaded}`);
  }

  async close(): Promise<void> {
    await this.pool.close();
  }
}

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
  const { manifest, geometry, sha256, bank } = bundle;
  return {
    key: modelKey(manifest),
    name: manifest.name,
    version: manifest.version,
    sha256,
    manifest,
    geometry,
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
 * In order of name and version. A bundle that is refused must not take the others down; where none is left, its error
 * is the answer.
 */
async function readBundles(folder: string, logger: Logger): Promise<readonly Bundle[]> {
  const bundles: Bundle[] = [];
  const reasons: string[] = [];
  let refused: SaladError | undefined;
  for await (const finding of openBundles(folder)) {
    if (finding.kind === 'bundle') {
      bundles.push(finding.bundle);
    } else if (finding.kind === 'refused') {
      const { directory, model, error } = finding;
      refused ??= error;
      logger.error({ err: error, directory, model }, 'a model bundle was refused');
    } else {
      const { directory, reason } = finding;
      reasons.push(`${directory}: ${reason}`);
      logger.info({ directory, reason }, 'a folder is not a model bundle and was ignored');
    }
  }
  if (bundles.length > 0) return bundles;
  const why = reasons.length === 0 ? '' : ` (${reasons.join('; ')})`;
  throw refused ?? new SaladError('CONFIGURATION_INVALID', `models: no NAME/VERSION/ under ${folder}${why}`);
}
