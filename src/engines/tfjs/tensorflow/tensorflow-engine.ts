/** The engine on libtensorflow through tfjs-node: on NVIDIA GPUs where CUDA is installed, else on the processor. */
import type { Engine } from '../../engine.js';
import { loadTfjsModel, type TfjsRuntime } from '../tfjs-model.js';
import { loadTensorflow } from './binding.js';

/** No guard is needed: an operation of libtensorflow that fails throws. */
const RUNTIME: TfjsRuntime = { engine: 'tensorflow', backend: 'tensorflow', guard: (work) => work() };

/** @throws SaladError ENGINE_UNAVAILABLE where no native binding loads. */
export async function createTensorflowEngine(): Promise<Engine> {
  const { package: name, version, usesGpu } = await loadTensorflow();
  return {
    info: {
      name: 'tensorflow',
      device: `${usesGpu ? 'CUDA GPU' : 'CPU'}, libtensorflow ${version} (${name})`,
      hardware: usesGpu,
      // TensorFlow uses every core or the whole GPU by itself, and its binding does not support a second thread of the
      // process (tfjs issue 8388).
      maxWorkers: 1,
      canUseSessionThreads: false,
    },
    load: (source) => loadTfjsModel(RUNTIME, source),
    // The library cannot be unloaded from a process.
    async dispose() {},
  };
}
