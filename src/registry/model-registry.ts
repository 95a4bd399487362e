/** The loaded models: found on disk, run by one pool, looked up by name and version. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AcquisitionBudget, type ServedModel, type TileSlot } from '../acquisition/index.js';
import { Batcher } from '../batching/index.js';
import { type Bundle, readBundle } from '../bundle/bundle.js';
import type { ServeConfig } from '../config/schema.js';
import type { EngineName, Precision } from '../engines/engine.js';
import { callerText, SaladError } from '../errors/index.js';
import { alignsInTile } from '../geometry/geometry.js';
import { ALIGNMENT_NUMBERS } from '../imaging/alignment-map.js';
import { EnginePool, type PoolModelStatus, type PoolSlot } from '../pool/engine-pool.js';
import type { Logger } from '../telemetry/logger.js';
import type { Telemetry } from '../telemetry/telemetry.js';

/** A deadline nearer than this goes before the round-robin between streams. */
const URGENCY_HORIZON_MS = 1000;

export class ModelRegistry {
  private constructor(
    readonly pool: EnginePool,
    private readonly batcher: Batcher<PoolSlot>,
    readonly budget: AcquisitionBudget,
    /** By name, then version. */
    private readonly models: readonly ServedModel[],
  ) {}

  /**
   * Reads every bundle under the models folder, starts the engine and warms it up.
   * @throws SaladError BUNDLE_INVALID, CONFIGURATION_INVALID where nothing can be served, ENGINE_UNAVAILABLE
   */
  static async open(config: ServeConfig, logger: Logger, telemetry: Telemetry): Promise<ModelRegistry> {
    const bundles = await readBundles(config.models, logger);
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
      models: bundles.map((bundle) => poolModelOf(bundle, config.precision)),
      watchdogMs: config.engineWatchdogMs,
      backOffMs: config.engineBackOffMs,
      backOffMaxMs: config.engineBackOffMaxMs,
      standbyDelayMs: config.engineStandbyDelayMs,
      logger,
    });
    const budget = new AcquisitionBudget({
      maxAcquisitions: config.maxConcurrentAcquisitions,
      maxBytes: config.maxAcquisitionBytes,
      retryAfterMs: config.retryDelayMs,
      peerShareRatio: config.peerShareRatio,
    });
    const tilesMax = Math.max(...bundles.map(({ geometry }) => geometry.tileCount));
    const batcher = new Batcher<PoolSlot>({
      executor: pool,
      limits: {
        maxQueuedTiles: config.maxConcurrentAcquisitions * tilesMax,
        urgencyHorizonMs: URGENCY_HORIZON_MS,
      },
      statShare: config.statSharePercent / 100,
      peersTakeTurns: config.peerShareRatio > 0,
      admission: { maxQueueMs: config.maxQueueMs, maxQueueRatio: config.maxQueueRatio },
      now: () => performance.now(),
      onBatch: (report) => telemetry.batchRan(report),
    });
    const models = bundles.map((bundle) => servedModel(bundle, config.precision, pool, batcher, budget));
    for (const { key } of models) {
      const { pieceSize, maxBatchSize, curve, search } = pool.modelStatus(key) as PoolModelStatus;
      logger.info(
        { model: key, engine: pool.engine, device: pool.device, search, pieceSize, maxBatchSize, curve },
        'model ready',
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
    const shown = callerText(name);
    const wanted = version === undefined ? shown : `${shown}@${version}`;
    const loaded = this.models.map((model) => model.key).join(', ');
    throw new SaladError('MODEL_NOT_FOUND', `model ${wanted} is not loaded; loaded: ${loaded}`);
  }

  async close(): Promise<void> {
    await this.pool.close();
  }
}

function poolModelOf({ manifest, geometry, directory, sha256 }: Bundle, precision: Precision) {
  return {
    key: keyOf(manifest),
    directory,
    sha256,
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

function keyOf({ name, version }: Bundle['manifest']): string {
  return `${name}@${version}`;
}

function servedModel(
  bundle: Bundle,
  precision: Precision,
  pool: EnginePool,
  batcher: Batcher<TileSlot>,
  budget: AcquisitionBudget,
): ServedModel {
  const { manifest, geometry, sha256, bank } = bundle;
  return {
    key: keyOf(manifest),
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
      return pool.modelStatus(keyOf(manifest))?.search ?? '';
    },
    precision,
    batcher,
    budget,
  };
}

/** One broken bundle must not take the others down; where none is left, its error is the answer. */
async function readBundles(folder: string, logger: Logger): Promise<readonly Bundle[]> {
  const bundles: Bundle[] = [];
  let broken: unknown;
  for (const directory of await bundleFolders(folder)) {
    try {
      bundles.push(await readBundle(directory));
    } catch (error) {
      broken ??= error;
      logger.error({ err: error, directory }, 'a model bundle was refused');
    }
  }
  if (bundles.length === 0) {
    throw broken ?? new SaladError('CONFIGURATION_INVALID', `models: no <name>/<version>/ under ${folder}`);
  }
  const order = (a: Bundle, b: Bundle) =>
    a.manifest.name < b.manifest.name ? -1 : a.manifest.name > b.manifest.name ? 1 : 0;
  return bundles.sort((a, b) => order(a, b) || a.manifest.version - b.manifest.version);
}

async function bundleFolders(folder: string): Promise<readonly string[]> {
  const subfolders = async (path: string): Promise<string[]> => {
    try {
      const entries = await readdir(path, { withFileTypes: true });
      return entries.filter((entry) => entry.isDirectory()).map((entry) => join(path, entry.name));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new SaladError('CONFIGURATION_INVALID', `models: ${why}`, { cause: error });
    }
  };
  const names = await subfolders(folder);
  return (await Promise.all(names.map(subfolders))).flat().sort();
}
