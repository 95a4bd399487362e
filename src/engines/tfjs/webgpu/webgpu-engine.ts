/** The engine on tfjs' WebGPU backend and Dawn: runs on any GPU with a Vulkan, Metal or Direct3D 12 driver. */
import type { Engine } from '../../engine.js';
import { loadTfjsModel, type TfjsRuntime } from '../tfjs-model.js';
import { acquireDevice } from './dawn.js';

/** @throws SaladError ENGINE_UNAVAILABLE where there is no adapter or the optional packages are absent. */
export async function createWebgpuEngine(): Promise<Engine> {
  const { description, hardware, guard, release } = await acquireDevice();
  const runtime: TfjsRuntime = { engine: 'webgpu', backend: 'webgpu', guard };
  return {
    info: {
      name: 'webgpu',
      device: hardware ? description : `${description} (software)`,
      hardware,
      // The GPU has one queue: a second thread would only add a second copy of model and bank.
      maxWorkers: 1,
      canUseSessionThreads: false,
    },
    load: (source) => loadTfjsModel(runtime, source),
    async dispose() {
      release();
    },
  };
}
