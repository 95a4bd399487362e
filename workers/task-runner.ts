/** Worker thread. Owns its engines and models: chooses an engine, loads models, runs batches in shared slots. */
import { allocatePatchBatch } from '../src/engines/batch.js';
import type { Engine, EngineModel, EngineName, EngineOptions } from '../src/engines/engine.js';
import { runGoldenCheckOnModel } from '../src/engines/selection/golden-check.js';
import { skipReason, skipReasonBeforeStart } from '../src/engines/selection/select.js';
import { SaladError } from '../src/errors/index.js';
import { toErrorData } from '../src/errors/transfer.js';
import { alignerOf } from '../src/imaging/alignment/alignment.js';
import { ALIGNMENT_NUMBERS, toNumbers } from '../src/imaging/alignment/alignment-map.js';
import { inPrecision } from '../src/network/precision.js';
import {
  failureFrom,
  type ModelFacts,
  type SelectResult,
  type WorkerModel,
  type WorkerResult,
  type WorkerSetup,
  type WorkerTask,
} from '../src/pool/messages.js';
import { pieceOf, type SlotView, viewSlot } from '../src/pool/slots.js';
import { collectGarbage } from '../src/util/collect-garbage.js';

export type CreateEngine = (name: EngineName, options: EngineOptions) => Promise<Engine>;

type Task<Type extends WorkerTask['type']> = Extract<WorkerTask, { type: Type }>;
type AlignTiles = (pixels: Uint8Array, alignments: Float64Array) => void;

/** A started engine, with the models that passed their golden check and those that did not. */
interface CheckedEngine {
  readonly engine: Engine;
  readonly models: Readonly<Record<string, ModelFacts>>;
  readonly refused: ReadonlyMap<string, SaladError>;
}

export class TaskRunner {
  private readonly engines = new Map<EngineName, Promise<Engine>>();
  /** By engine and model key. */
  private readonly loadedModels = new Map<string, Promise<EngineModel>>();
  /** By model key and slot. */
  private readonly slotViews = new Map<string, SlotView>();

  /** @param betweenPieces called between two pieces of a batch that is not urgent, and between the steps of a load */
  constructor(
    private readonly setup: WorkerSetup,
    private readonly createEngine: CreateEngine,
    private readonly betweenPieces: () => Promise<void>,
  ) {}

  /** Call it for one task at a time; only urgent runs may also start while `betweenPieces` is pending. */
  async run(task: WorkerTask): Promise<WorkerResult> {
    switch (task.type) {
      case 'select':
        return this.selectEngine(task);
      case 'load':
        return this.loadModels(task);
      case 'add':
        return this.addModel(task);
      case 'remove':
        return this.removeModel(task.model);
      case 'run':
        return this.runBatch(task);
    }
  }

  /** @throws SaladError ENGINE_UNAVAILABLE with every engine's reason */
  private async selectEngine({ engines, preference, requireAll }: Task<'select'>): Promise<SelectResult> {
    const reasons: string[] = [];
    let best: CheckedEngine | undefined;
    for (const name of engines) {
      let checked: CheckedEngine;
      try {
        checked = await this.checkEngine(name, preference === name ? name : 'auto');
      } catch (error) {
        reasons.push(`${name}: ${SaladError.from(error).message}`);
        await this.unload(name);
        continue;
      }
      for (const [key, { message }] of checked.refused) reasons.push(`${name}: ${key}: ${message}`);
      const isBetter = best === undefined || checked.refused.size < best.refused.size;
      const worse = isBetter ? best : checked;
      if (isBetter) best = checked;
      if (worse !== undefined) await this.unload(worse.engine.info.name);
      if (best?.refused.size === 0) break;
    }
    const servesSome = best !== undefined && best.refused.size < this.setup.models.length;
    if (best === undefined || !servesSome || (requireAll && best.refused.size > 0)) {
      if (best !== undefined) await this.unload(best.engine.info.name);
      throw new SaladError('ENGINE_UNAVAILABLE', `no engine is usable (${reasons.join('; ')})`);
    }
    for (const key of best.refused.keys()) await this.unloadModel(best.engine.info.name, key);
    const { name: engine, device, maxWorkers, canUseSessionThreads } = best.engine.info;
    const refused = Object.fromEntries([...best.refused].map(([key, error]) => [key, toErrorData(error)]));
    const { models } = best;
    return { type: 'selected', engine, device, maxWorkers, canUseSessionThreads, models, refused };
  }

  /** Starts the engine and runs the golden check of every model. Both stay loaded, so that the checked ones serve. */
  private async checkEngine(name: EngineName, preference: EngineName | 'auto'): Promise<CheckedEngine> {
    const skippedUnstarted = skipReasonBeforeStart(name, preference);
    if (skippedUnstarted !== null) throw new SaladError('ENGINE_UNAVAILABLE', skippedUnstarted);
    const engine = await this.engineOf(name);
    const skipped = skipReason(engine.info, preference);
    if (skipped !== null) throw new SaladError('ENGINE_UNAVAILABLE', skipped);
    const models: Record<string, ModelFacts> = {};
    const refused = new Map<string, SaladError>();
    for (const { key, bundle } of this.setup.models) {
      try {
        const model = await this.modelOf(name, key);
        const { passed, reason } = await runGoldenCheckOnModel(model, bundle);
        if (!passed) throw new SaladError('BUNDLE_INVALID', reason ?? 'the golden check failed');
        models[key] = { search: model.search, precision: model.precision };
      } catch (error) {
        refused.set(key, SaladError.from(error));
      }
    }
    return { engine, models, refused };
  }

  private async loadModels({ engine, models }: Task<'load'>): Promise<WorkerResult> {
    for (const key of models) await this.modelOf(engine, key);
    return { type: 'loaded' };
  }

  /** @throws SaladError BUNDLE_INVALID where the engine does not reproduce the golden scores, or what the engine threw */
  private async addModel({ engine, model, pieceSize }: Task<'add'>): Promise<WorkerResult> {
    const { models } = this.setup;
    // A thread that replaced one that crashed may have it from its setup.
    if (!models.some(({ key }) => key === model.key)) models.push(model);
    try {
      const loaded = await this.modelOf(engine, model.key);
      await this.betweenPieces();
      const { passed, reason } = await runGoldenCheckOnModel(loaded, model.bundle);
      if (!passed) throw new SaladError('BUNDLE_INVALID', reason ?? 'the golden check failed');
      await this.betweenPieces();
      const batchMs = await warmUp(loaded, model, pieceSize);
      return { type: 'added', search: loaded.search, precision: loaded.precision, batchMs };
    } catch (error) {
      await this.removeModel(model.key);
      throw error;
    }
  }

  private async removeModel(key: string): Promise<WorkerResult> {
    for (const name of this.engines.keys()) await this.unloadModel(name, key);
    const index = this.setup.models.findIndex((model) => model.key === key);
    if (index >= 0) this.setup.models.splice(index, 1);
    for (const name of [...this.slotViews.keys()]) {
      if (name.startsWith(`${key}/`)) this.slotViews.delete(name);
    }
    // The memory that threads share is freed once no thread refers to it, and an idle thread collects no garbage.
    collectGarbage();
    return { type: 'removed' };
  }

  private async runBatch(task: Task<'run'>): Promise<WorkerResult> {
    let model: EngineModel;
    try {
      model = await this.modelOf(task.engine, task.model);
    } catch (error) {
      return failureFrom(error, true);
    }
    const view = this.slotViewOf(task.model, task.slot);
    const { shape } = this.workerModelOf(task.model);
    const alignTiles = this.alignmentOf(task.model);
    let computeMs = 0;
    try {
      // Pieces fit into the processor's caches; a batch of several pieces costs one message between threads.
      for (let first = 0; first < task.count; first += task.pieceSize) {
        if (first > 0 && !task.urgent) await this.betweenPieces();
        const startedAt = performance.now();
        const end = Math.min(task.count, first + task.pieceSize);
        const { pixels, positions, alignments, patches } = pieceOf(view, shape, first, end);
        alignTiles?.(pixels, alignments);
        await model.run({ count: end - first, pixels, positions }, patches);
        computeMs += performance.now() - startedAt;
      }
    } catch (error) {
      return failureFrom(error, !(await this.passesGoldenCheck(task.model, model)));
    }
    return { type: 'ran', computeMs };
  }

  /**
   * Aligns tiles in place, for models whose tile is the whole image. A failed batch is cut again from the working image
   * before its next try, so no tile is aligned twice.
   */
  private alignmentOf(key: string): AlignTiles | undefined {
    const { shape, bundle } = this.workerModelOf(key);
    if (shape.alignmentNumbers === 0) return undefined;
    const { manifest, geometry } = bundle;
    const aligner = alignerOf(manifest.input.alignment!);
    return (pixels, alignments) => {
      for (let at = 0, tile = 0; at < pixels.length; at += geometry.tilePixels, tile += 1) {
        const alignment = aligner.align(pixels.subarray(at, at + geometry.tilePixels), geometry.workingSize);
        alignments.set(toNumbers(alignment), ALIGNMENT_NUMBERS * tile);
      }
    };
  }

  /**
   * Shows after a failed run whether the batch or the engine is at fault: the engine scored the golden tiles before.
   */
  private async passesGoldenCheck(key: string, model: EngineModel): Promise<boolean> {
    try {
      return (await runGoldenCheckOnModel(model, this.workerModelOf(key).bundle)).passed;
    } catch {
      return false;
    }
  }

  private engineOf(name: EngineName): Promise<Engine> {
    return cached(this.engines, name, () => this.createEngine(name, this.setup.engineOptions));
  }

  private modelOf(engineName: EngineName, key: string): Promise<EngineModel> {
    return cached(this.loadedModels, `${engineName}/${key}`, async () => {
      const engine = await this.engineOf(engineName);
      const { bundle, precision, capacity } = this.workerModelOf(key);
      const source = inPrecision(bundle, precision);
      const options = { ...this.setup.search, batchTilesMax: capacity };
      return engine.load({ ...source, search: { ...source.search, options } });
    });
  }

  /** Does nothing where the engine did not start. */
  private async unload(name: EngineName): Promise<void> {
    for (const { key } of this.setup.models) await this.unloadModel(name, key);
    const engine = await this.engines.get(name)?.catch(() => undefined);
    this.engines.delete(name);
    await engine?.dispose();
  }

  private async unloadModel(name: EngineName, key: string): Promise<void> {
    const model = await this.loadedModels.get(`${name}/${key}`)?.catch(() => undefined);
    this.loadedModels.delete(`${name}/${key}`);
    await model?.dispose();
  }

  private slotViewOf(key: string, slot: number): SlotView {
    const name = `${key}/${slot}`;
    let view = this.slotViews.get(name);
    if (view === undefined) {
      const { shape, capacity, slots = this.setup.slots } = this.workerModelOf(key);
      const buffer = slots[slot];
      if (buffer === undefined) throw new SaladError('INTERNAL', `there is no slot ${slot}`);
      view = viewSlot(buffer, shape, capacity);
      this.slotViews.set(name, view);
    }
    return view;
  }

  private workerModelOf(key: string): WorkerModel {
    const model = this.setup.models.find((candidate) => candidate.key === key);
    if (model === undefined) throw new SaladError('INTERNAL', `unknown model ${key}`);
    return model;
  }
}

/**
 * Runs golden tiles as batches of one size: engines prepare themselves for a size at its first batch.
 * @returns the time of the second batch, in ms
 */
async function warmUp(model: EngineModel, { bundle, shape }: WorkerModel, count: number): Promise<number> {
  const { golden } = bundle;
  const goldenCount = golden.positions.length / 2;
  const pixels = new Uint8Array(count * shape.tilePixels);
  const positions = new Int32Array(count * 2);
  for (let tile = 0; tile < count; tile++) {
    const from = tile % goldenCount;
    pixels.set(
      golden.pixels.subarray(from * shape.tilePixels, (from + 1) * shape.tilePixels),
      tile * shape.tilePixels,
    );
    positions.set(golden.positions.subarray(2 * from, 2 * from + 2), 2 * tile);
  }
  const patches = allocatePatchBatch(count, model);
  await model.run({ count, pixels, positions }, patches);
  const startedAt = performance.now();
  await model.run({ count, pixels, positions }, patches);
  return performance.now() - startedAt;
}

/** Calls `create` once for a key. A failure is not cached: the next task tries again. */
function cached<K, V>(cache: Map<K, Promise<V>>, key: K, create: () => Promise<V>): Promise<V> {
  let value = cache.get(key);
  if (value === undefined) {
    value = create();
    cache.set(key, value);
    value.catch(() => cache.delete(key));
  }
  return value;
}
