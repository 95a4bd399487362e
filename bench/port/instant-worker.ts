/**
 * Entry of a worker thread whose engine answers at once. The model computes its golden check only; every later batch is
 * answered without computing, with whatever scores its slot has. So the time of an image is what the port costs.
 */
import type { Engine, EngineName, EngineOptions } from '../../src/engines/engine.js';
import { createEngine } from '../../src/engines/selection/select.js';
import { createTaskHandler } from '../../workers/task-handler.js';

async function createInstantEngine(name: EngineName, options: EngineOptions): Promise<Engine> {
  const engine = await createEngine(name, options);
  return {
    ...engine,
    async load(source) {
      const model = await engine.load(source);
      let isGoldenCheck = true;
      return {
        ...model,
        async run(tiles, patches) {
          if (isGoldenCheck) await model.run(tiles, patches);
          isGoldenCheck = false;
        },
      };
    },
  };
}

export default createTaskHandler(createInstantEngine);
