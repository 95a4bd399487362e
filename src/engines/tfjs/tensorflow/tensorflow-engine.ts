/** libtensorflow through tfjs-node: NVIDIA GPUs where CUDA is installed, else the processor. */
import type { Engine } from '../../engine.js';
import { loadTfjsModel, type TfjsRuntime } from '../tfjs-model.js';
import { loadTensorflow } from './binding.js';

/** Failures of libtensorflow come as exceptions of the operation that failed. */
const RUNTIME: TfjsRuntime = { engine: 'tensorflow', backend: 'tensorflow', guard: (work) => work() };

/** @throws SaladError ENGINE_UNAVAILABLE where no native binding loads. */
export async function createTensorflowEngine(): Promise<Engine> {
  const { package: name, version, usesGpu } = await loadTensorflow();
  return {
    info: {
      name: 'tensorflow',
      device: `${usesGpu ? 'CUDA GPU' : 'CPU'}, libtensorflow ${version} (${name})`,
      hardware: usesGpu,
      // TensorFlow uses every core or the whole GPU by itself, and its binding is not made for a second
      // thread of the process (tfjs issue 8388).
      maxWorkers: 1,
      threaded: false,
    },
    load: (source) => loadTfjsModel(RUNTIME, source),
    // The library stays: it cannot be unloaded from a process.
    async dispose() {},
  };
}
