/** Worker entry: loads an engine and the models once, then runs batches in shared slots, one at a time. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { threadId, workerData } from 'node:worker_threads';
import { type Bundle, readBundle } from '../src/bundle/bundle.js';
import type { Engine, EngineModel, EngineName } from '../src/engines/engine.js';
import {
  createEngine,
  passedOver,
  passedOverUnstarted,
  selfTestModel,
} from '../src/engines/selection/select.js';
import { SaladError } from '../src/errors/index.js';
import { alignerOf } from '../src/imaging/alignment.js';
import { ALIGNMENT_NUMBERS, toNumbers } from '../src/imaging/alignment-map.js';
import { inPrecision } from '../src/network/precision.js';
import {
  type Fault,
  failureFrom,
  type WorkerModel,
  type WorkerResult,
  type WorkerSetup,
  type WorkerTask,
} from '../src/pool/messages.js';
import { pieceOf, type SlotView, viewSlot } from '../src/pool/slots.js';

/** Longest wait for the other workers at start; they are loading the same bundles. */
const BARRIER_TIMEOUT_MS = 60_000;

/** piscina wraps what the pool was given: [its own environment data, ours]. */
const setup: WorkerSetup = Array.isArray(workerData) ? workerData[1] : workerData;

/** Batches that a time is the shortest of. */
const TIMED_RUNS = 5;

type RunTask = Extract<WorkerTask, { type: 'run' }>;
type TimeTask = Extract<WorkerTask, { type: 'time' }>;

const bundles = new Map<string, Promise<Bundle>>();
const engines = new Map<EngineName, Promise<Engine>>();
const loaded = new Map<string, Promise<EngineModel>>();
const views = new Map<string, SlotView>();

interface Waiting {
  readonly task: WorkerTask;
  readonly answer: (result: WorkerResult) => void;
}

const waiting: Waiting[] = [];
let working = false;

/** Tasks run one after another even where the pool posts the next one early: an engine has one caller. */
export default function handle(task: WorkerTask): Promise<WorkerResult> {
  const result = new Promise<WorkerResult>((answer) => {
    waiting.splice(isUrgent(task) ? firstNotUrgent() : waiting.length, 0, { task, answer });
  });
  if (!working) void work();
  return result;
}

function isUrgent(task: WorkerTask): boolean {
  return task.type === 'run' && task.urgent;
}

function firstNotUrgent(): number {
  const at = waiting.findIndex(({ task }) => !isUrgent(task));
  return at < 0 ? waiting.length : at;
}

async function work(): Promise<void> {
  working = true;
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    await settle(next);
    // Whatever came meanwhile may be more urgent than what waits; it has not been read yet.
    await nextTurn();
  }
  working = false;
}

async function settle({ task, answer }: Waiting): Promise<void> {
  answer(await perform(task).catch((error: unknown) => failureFrom(error)));
}

/** Between two pieces of a batch: an urgent tile waits for a piece, never for a batch. */
async function letUrgentPass(): Promise<void> {
  await nextTurn();
  while (firstNotUrgent() > 0) await settle(waiting.shift()!);
}

async function perform(task: WorkerTask): Promise<WorkerResult> {
  switch (task.type) {
    case 'select':
      return selectEngine(task.engines, task.preference);
    case 'load': {
      const arrived = new Int32Array(task.arrived);
      try {
        for (const model of setup.models) await modelOf(task.engine, model.key);
      } finally {
        // Also where it failed: the others must not wait for a worker that gave up.
        Atomics.add(arrived, 0, 1);
        Atomics.notify(arrived, 0);
      }
      waitForOthers(arrived, task.count);
      return { type: 'loaded', threadId };
    }
    case 'time':
      return timeBatches(task);
    case 'run':
      return runBatch(task);
  }
}

async function runBatch(task: RunTask): Promise<WorkerResult> {
  let model: EngineModel;
  try {
    model = await modelOf(task.engine, task.model);
  } catch (error) {
    return failureFrom(error, true);
  }
  const view = slotOf(task.model, task.slot);
  const { shape } = describe(task.model);
  const align = await alignmentOf(task.model);
  let computeMs = 0;
  try {
    // In pieces the processor's cache holds: one message across threads for many of them.
    for (let first = 0; first < task.count; first += task.pieceSize) {
      if (first > 0 && !task.urgent) await letUrgentPass();
      const started = performance.now();
      const last = Math.min(task.count, first + task.pieceSize);
      if (task.fault !== undefined && last === task.count) await befall(task.fault);
      const { pixels, positions, alignments, patches } = pieceOf(view, shape, first, last);
      align?.(pixels, alignments);
      await model.run({ count: last - first, pixels, positions }, patches);
      computeMs += performance.now() - started;
    }
  } catch (error) {
    return failureFrom(error, !(await isSound(task.model, model)));
  }
  return { type: 'ran', computeMs };
}

/** Aligns tiles in place, where each is a whole image. A batch that failed is cut anew before it is tried again. */
async function alignmentOf(
  key: string,
): Promise<((pixels: Uint8Array, alignments: Float64Array) => void) | undefined> {
  if (describe(key).shape.alignmentNumbers === 0) return undefined;
  const { manifest, geometry } = await bundleOf(key);
  const aligner = alignerOf(manifest.input.alignment!);
  return (pixels, alignments) => {
    for (let at = 0, tile = 0; at < pixels.length; at += geometry.tilePixels, tile += 1) {
      const alignment = aligner.align(pixels.subarray(at, at + geometry.tilePixels), geometry.workingSize);
      alignments.set(toNumbers(alignment), ALIGNMENT_NUMBERS * tile);
    }
  };
}

async function timeBatches(task: TimeTask): Promise<WorkerResult> {
  const engine = await createEngine(task.engine, {
    ...setup.engineOptions,
    sessionThreads: task.sessionThreads,
  });
  try {
    const model = await loadModel(engine, task.model);
    try {
      return { type: 'timed', msPerTile: await fastestTile(model, task) };
    } finally {
      await model.dispose();
    }
  } finally {
    await engine.dispose();
  }
}

/** Ms, with all that a batch costs a worker. */
async function fastestTile(model: EngineModel, task: TimeTask): Promise<number> {
  const view = slotOf(task.model, task.slot);
  const align = await alignmentOf(task.model);
  let msPerTile = Number.POSITIVE_INFINITY;
  for (const count of task.counts) {
    const { pixels, positions, alignments, patches } = pieceOf(view, describe(task.model).shape, 0, count);
    await model.run({ count, pixels, positions }, patches);
    for (let run = 0; run < TIMED_RUNS; run++) {
      const started = performance.now();
      align?.(pixels, alignments);
      await model.run({ count, pixels, positions }, patches);
      msPerTile = Math.min(msPerTile, (performance.now() - started) / count);
    }
  }
  return msPerTile;
}

/** Was it this batch, or is it the engine? Tiles that it has scored before tell the two apart. */
async function isSound(key: string, model: EngineModel): Promise<boolean> {
  try {
    return (await selfTestModel(model, await bundleOf(key))).passed;
  } catch {
    return false;
  }
}

/** An injected fault, before the last piece of a batch: what is written by then must never be delivered. */
async function befall(fault: Fault): Promise<void> {
  if (fault.kind === 'exit') process.exit(1);
  if (fault.kind === 'hang') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  if (fault.kind === 'throw') {
    const fail = async () => {
      throw new SaladError('ENGINE_FAILED', fault.message);
    };
    if (fault.lasting) for (const model of await Promise.all(loaded.values())) model.run = fail;
    await fail();
  }
}

/**
 * The first engine that reproduces the golden scores of every model. Its engine and models are kept: what passed
 * the self-test is what serves.
 */
async function selectEngine(
  names: readonly EngineName[],
  preference: EngineName | 'auto',
): Promise<WorkerResult> {
  const reasons: string[] = [];
  for (const name of names) {
    try {
      const wish = preference === name ? name : 'auto';
      const early = passedOverUnstarted(name, wish);
      if (early !== null) throw new SaladError('ENGINE_UNAVAILABLE', early);
      const engine = await engineOf(name);
      const refusal = passedOver(engine.info, wish);
      if (refusal !== null) {
        engines.delete(name);
        await engine.dispose();
        throw new SaladError('ENGINE_UNAVAILABLE', refusal);
      }
      for (const { key } of setup.models) await proveModel(name, key);
      const { device, maxWorkers, threaded } = engine.info;
      const searches: Record<string, string> = {};
      for (const { key } of setup.models) searches[key] = (await modelOf(name, key)).search;
      return { type: 'selected', engine: name, device, maxWorkers, threaded, searches };
    } catch (error) {
      const known = SaladError.from(error);
      if (known.reason === 'BUNDLE_INVALID') throw known;
      reasons.push(`${name}: ${known.message}`);
    }
  }
  throw new SaladError('ENGINE_UNAVAILABLE', `no engine is usable (${reasons.join('; ')})`);
}

async function proveModel(engine: EngineName, key: string): Promise<void> {
  const result = await selfTestModel(await modelOf(engine, key), await bundleOf(key));
  if (!result.passed)
    throw new SaladError('ENGINE_UNAVAILABLE', `${key}: ${result.reason ?? 'self-test failed'}`);
}

function engineOf(name: EngineName): Promise<Engine> {
  return once(engines, name, () => createEngine(name, setup.engineOptions));
}

function modelOf(engineName: EngineName, key: string): Promise<EngineModel> {
  return once(loaded, `${engineName}/${key}`, async () => loadModel(await engineOf(engineName), key));
}

async function loadModel(engine: Engine, key: string): Promise<EngineModel> {
  const bundle = inPrecision(await bundleOf(key), describe(key).precision);
  const options = { ...setup.search, batchTilesMax: describe(key).capacity };
  return engine.load({ ...bundle, search: { ...bundle.search, options } });
}

function bundleOf(key: string): Promise<Bundle> {
  return once(bundles, key, async () => {
    const { directory, sha256 } = describe(key);
    const bundle = await readBundle(directory);
    if (bundle.sha256 !== sha256) {
      throw new SaladError('BUNDLE_INVALID', `${directory} changed since the server read it`);
    }
    return bundle;
  });
}

function slotOf(key: string, slot: number): SlotView {
  const name = `${key}/${slot}`;
  let view = views.get(name);
  if (view === undefined) {
    const { shape, capacity } = describe(key);
    const buffer = setup.slots[slot];
    if (buffer === undefined) throw new SaladError('INTERNAL', `there is no slot ${slot}`);
    view = viewSlot(buffer, shape, capacity);
    views.set(name, view);
  }
  return view;
}

function describe(key: string): WorkerModel {
  const model = setup.models.find((candidate) => candidate.key === key);
  if (model === undefined) throw new SaladError('INTERNAL', `worker was not told of model ${key}`);
  return model;
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

/** Blocks the thread: a worker that waited with its event loop free would be handed a second load. */
function waitForOthers(arrived: Int32Array, count: number): void {
  const deadline = performance.now() + BARRIER_TIMEOUT_MS;
  for (let seen = Atomics.load(arrived, 0); seen < count; seen = Atomics.load(arrived, 0)) {
    const left = deadline - performance.now();
    if (left <= 0) return;
    Atomics.wait(arrived, 0, seen, left);
  }
}
