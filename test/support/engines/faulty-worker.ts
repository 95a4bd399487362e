/** Entry of a worker thread in tests: the real worker, with engines that apply the faults of `injectFault`. */
import type { Engine, EngineModel, EngineName, EngineOptions } from '../../../src/engines/engine.js';
import { createEngine } from '../../../src/engines/selection/select.js';
import { createTaskHandler } from '../../../workers/task-handler.js';
import { FAULT_KINDS, type FaultKind, faultState } from './faults.js';

/** The injected fault, if there is one; it is applied once. */
function nextFault(): FaultKind | undefined {
  return FAULT_KINDS[Atomics.exchange(faultState, 0, 0) - 1];
}

async function createFaultyEngine(name: EngineName, options: EngineOptions): Promise<Engine> {
  const engine = await createEngine(name, options);
  let isLost = false;
  const run: (model: EngineModel) => EngineModel['run'] = (model) => async (tiles, patches) => {
    const fault = isLost ? 'lose' : nextFault();
    if (fault === undefined) return model.run(tiles, patches);
    // Scores written before the fault must never be delivered.
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

export default createTaskHandler(createFaultyEngine);
