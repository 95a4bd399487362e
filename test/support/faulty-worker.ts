/** Worker entry of tests: the real worker, whose engines fail when `injectFault` says so. */
import type { Engine, EngineModel, EngineName, EngineOptions } from '../../src/engines/engine.js';
import { createEngine } from '../../src/engines/selection/select.js';
import { createHandler } from '../../workers/handler.js';
import { FAULT_KINDS, type FaultKind, faultState } from './faults.js';

/** The fault that this run of an engine meets. */
function takeFault(): FaultKind | undefined {
  return FAULT_KINDS[Atomics.exchange(faultState, 0, 0) - 1];
}

async function createFaultyEngine(name: EngineName, options: EngineOptions): Promise<Engine> {
  const engine = await createEngine(name, options);
  let isLost = false;
  const run: (model: EngineModel) => EngineModel['run'] = (model) => async (tiles, patches) => {
    const fault = isLost ? 'lose' : takeFault();
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
