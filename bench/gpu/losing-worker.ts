/** Engine worker of losing-server.ts: the real worker, whose WebGPU device is destroyed when the server asks for it. */
import { getEnvironmentData } from 'node:worker_threads';
import * as tf from '@tensorflow/tfjs-core';
import type { Engine, EngineModel, EngineName, EngineOptions } from '../../src/engines/engine.js';
import { createEngine } from '../../src/engines/selection/select.js';
import { createTaskHandler } from '../../workers/task-handler.js';
import { LOSS_KEY } from './loss.js';

/** 1: the device is to be destroyed before the next batch. */
const isLossRequested = getEnvironmentData(LOSS_KEY) as unknown as Int32Array;

async function createLosingEngine(name: EngineName, options: EngineOptions): Promise<Engine> {
  const engine = await createEngine(name, options);
  if (name !== 'webgpu') return engine;
  const run: (model: EngineModel) => EngineModel['run'] = (model) => async (tiles, patches) => {
    if (Atomics.exchange(isLossRequested, 0, 0) === 1) {
      const device = Reflect.get(tf.backend(), 'device') as { destroy(): void };
      device.destroy();
    }
    return model.run(tiles, patches);
  };
  return {
    ...engine,
    async load(source) {
      const model = await engine.load(source);
      return { ...model, run: run(model) };
    },
  };
}

export default createTaskHandler(createLosingEngine);
