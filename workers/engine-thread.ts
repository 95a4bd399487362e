/** The engines and models of one thread: chooses an engine, loads models, runs batches in shared slots. */
import type { Engine, EngineModel, EngineName, EngineOptions } from '../src/engines/engine.js';
import { passedOver, passedOverUnstarted, selfTestModel } from '../src/engines/selection/select.js';
import { SaladError } from '../src/errors/index.js';
import { toErrorData } from '../src/errors/transfer.js';
import { alignerOf } from '../src/imaging/alignment.js';
import { ALIGNMENT_NUMBERS, toNumbers } from '../src/imaging/alignment-map.js';
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

export type CreateEngine = (name: EngineName, options: EngineOptions) => Promise<Engine>;

type Task<Type extends WorkerTask['type']> = Extract<WorkerTask, { type: Type }>;
type Aligner = (pixels: Uint8Array, alignments: Float64Array) => void;

/** An engine that was started, with the models it can serve and those it cannot. */
interface Proof {
  readonly engine: Engine;
  readonly models: Readonly<Record<string, ModelFacts>>;
  readonly refused: ReadonlyMap<string, SaladError>;
}

export class EngineThread {
  private readonly engines = new Map<EngineName, Promise<Engine>>();
  /** By engine and model key. */
  private readonly loaded = new Map<string, Promise<EngineModel>>();
  private readonly views = new Map<string, SlotView>();

  /** @param between called between two pieces of a batch that is not urgent */
  constructor(
    private readonly setup: WorkerSetup,
    private readonly createEngine: CreateEngine,
    private readonly between: () => Promise<void>,
  ) {}

  /** One task at a time, but for urgent runs while `between` is pending. */
  async perform(task: WorkerTask): Promise<WorkerResult> {
    switch (task.type) {
      case 'select':
        return this.select(task);
      case 'load':
        return this.load(task);
      case 'run':
        return this.run(task);
    }
  }

  /** @throws SaladError ENGINE_UNAVAILABLE with every engine's reason */
  private async select({ engines, preference, requireAll }: Task<'select'>): Promise<SelectResult> {
    const reasons: string[] = [];
    let best: Proof | undefined;
    for (const name of engines) {
      let proof: Proof;
      try {
        proof = await this.prove(name, preference === name ? name : 'auto');
      } catch (error) {
        reasons.push(`${name}: ${SaladError.from(error).message}`);
        await this.unload(name);
        continue;
      }
      for (const [key, { message }] of proof.refused) reasons.push(`${name}: ${key}: ${message}`);
      const isBetter = best === undefined || proof.refused.size < best.refused.size;
      const worse = isBetter ? best : proof;
      if (isBetter) best = proof;
      if (worse !== undefined) await this.unload(worse.engine.info.name);
      if (best?.refused.size === 0) break;
    }
    const servesSome = best !== undefined && best.refused.size < this.setup.models.length;
    if (best === undefined || !servesSome || (requireAll && best.refused.size > 0)) {
      if (best !== undefined) await this.unload(best.engine.info.name);
      throw new SaladError('ENGINE_UNAVAILABLE', `no engine is usable (${reasons.join('; ')})`);
    }
    for (const key of best.refused.keys()) await this.unloadModel(best.engine.info.name, key);
    const { name, device, maxWorkers, threaded } = best.engine.info;
    const refused = Object.fromEntries([...best.refused].map(([key, error]) => [key, toErrorData(error)]));
    return { type: 'selected', engine: name, device, maxWorkers, threaded, models: best.models, refused };
  }

  /** Engine and models are kept: what passed the self-test is what serves. */
  private async prove(name: EngineName, preference: EngineName | 'auto'): Promise<Proof> {
    const early = passedOverUnstarted(name, preference);
    if (early !== null) throw new SaladError('ENGINE_UNAVAILABLE', early);
    const engine = await this.engineOf(name);
    const refusal = passedOver(engine.info, preference);
    if (refusal !== null) throw new SaladError('ENGINE_UNAVAILABLE', refusal);
    const models: Record<string, ModelFacts> = {};
    const refused = new Map<string, SaladError>();
    for (const { key, bundle } of this.setup.models) {
      try {
        const model = await this.modelOf(name, key);
        const { passed, reason } = await selfTestModel(model, bundle);
        if (!passed) throw new SaladError('BUNDLE_INVALID', reason ?? 'the self-test failed');
        models[key] = { search: model.search, precision: model.precision };
      } catch (error) {
        refused.set(key, SaladError.from(error));
      }
    }
    return { engine, models, refused };
  }

  private async load({ engine, models }: Task<'load'>): Promise<WorkerResult> {
    for (const key of models) await this.modelOf(engine, key);
    return { type: 'loaded' };
  }

  private async run(task: Task<'run'>): Promise<WorkerResult> {
    let model: EngineModel;
    try {
      model = await this.modelOf(task.engine, task.model);
    } catch (error) {
      return failureFrom(error, true);
    }
    const view = this.slotOf(task.model, task.slot);
    const { shape } = this.describe(task.model);
    const align = this.alignmentOf(task.model);
    let computeMs = 0;
    try {
      // In pieces that the processor's cache holds: one message across threads for many of them.
      for (let first = 0; first < task.count; first += task.pieceSize) {
        if (first > 0 && !task.urgent) await this.between();
        const started = performance.now();
        const last = Math.min(task.count, first + task.pieceSize);
        const { pixels, positions, alignments, patches } = pieceOf(view, shape, first, last);
        align?.(pixels, alignments);
        await model.run({ count: last - first, pixels, positions }, patches);
        computeMs += performance.now() - started;
      }
    } catch (error) {
      return failureFrom(error, !(await this.isSound(task.model, model)));
    }
    return { type: 'ran', computeMs };
  }

  /** Aligns tiles in place, where each is a whole image. A batch that failed is cut anew before it is tried again. */
  private alignmentOf(key: string): Aligner | undefined {
    const { shape, bundle } = this.describe(key);
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

  /** Was it this batch, or is it the engine? The golden tiles, which it has scored before, tell the two apart. */
  private async isSound(key: string, model: EngineModel): Promise<boolean> {
    try {
      return (await selfTestModel(model, this.describe(key).bundle)).passed;
    } catch {
      return false;
    }
  }

  private engineOf(name: EngineName): Promise<Engine> {
    return once(this.engines, name, () => this.createEngine(name, this.setup.engineOptions));
  }

  private modelOf(engineName: EngineName, key: string): Promise<EngineModel> {
    return once(this.loaded, `${engineName}/${key}`, async () => {
      const engine = await this.engineOf(engineName);
      const { bundle, precision, capacity } = this.describe(key);
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
    const model = await this.loaded.get(`${name}/${key}`)?.catch(() => undefined);
    this.loaded.delete(`${name}/${key}`);
    await model?.dispose();
  }

  private slotOf(key: string, slot: number): SlotView {
    const name = `${key}/${slot}`;
    let view = this.views.get(name);
    if (view === undefined) {
      const { shape, capacity } = this.describe(key);
      const buffer = this.setup.slots[slot];
      if (buffer === undefined) throw new SaladError('INTERNAL', `there is no slot ${slot}`);
      view = viewSlot(buffer, shape, capacity);
      this.views.set(name, view);
    }
    return view;
  }

  private describe(key: string): WorkerModel {
    const model = this.setup.models.find((candidate) => candidate.key === key);
    if (model === undefined) throw new SaladError('INTERNAL', `unknown model ${key}`);
    return model;
  }
}

/** A failure is not kept: the next task tries again. */
function once<K, V>(cache: Map<K, Promise<V>>, key: K, make: () => Promise<V>): Promise<V> {
  let value = cache.get(key);
  if (value === undefined) {
    value = make();
    cache.set(key, value);
    value.catch(() => cache.delete(key));
  }
  return value;
}
