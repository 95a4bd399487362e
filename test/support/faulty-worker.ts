/** Worker entry of tests: the real worker, whose engines fail when `injectFault` says so. */
import { getEnvironmentData } from 'node:worker_threads';
import {
  ENGINE_NAMES,
  type Engine,
  type EngineModel,
  type EngineName,
  type EngineOptions,
} from '../../src/engines/engine.js';
import { createEngine } from '../../src/engines/selection/select.js';
import { createHandler } from '../../workers/handler.js';
import { FAULT, FAULT_KINDS, FAULTS_KEY, type FaultKind } from './faults.js';

const state = getEnvironmentData(FAULTS_KEY) as unknown as Int32Array;

/** The fault that this run of an engine meets. */
function takeFault(engine: EngineName): FaultKind | undefined {
  const only = Atomics.load(state, FAULT.engine);
  if (only >= 0 && ENGINE_NAMES[only] !== engine) return undefined;
  for (let left = Atomics.load(state, FAULT.left); left > 0; left = Atomics.load(state, FAULT.left)) {
    const isMine = Atomics.compareExchange(state, FAULT.left, left, left - 1) === left;
    if (isMine) return FAULT_KINDS[Atomics.load(state, FAULT.kind)];
  }
  return undefined;
}

async function createFaultyEngine(name: EngineName, options: EngineOptions): Promise<Engine> {
  const engine = await createEngine(name, options);
  let isLost = false;
  const run: (model: EngineModel) => EngineModel['run'] = (model) => async (tiles, patches) => {
    const fault = isLost ? 'lose' : takeFault(name);
    if (fault === undefined) return model.run(tiles, patches);
    // What is written by then must never be delivered.
    patches.scores.fill(-1000);
    if (fault === 'exit') process.exit(1);
    if (fault === 'hang') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    isLost = fault === 'lose';
    throw new Error('injected failure');
  };
  return {
    ...engine,
    async load(source) {
      const model = await engine.load(source);
      return { ...model, run: run(model) };
    },
  };
}

export default createHandler(createFaultyEngine);
