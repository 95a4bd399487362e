/** The engine on tfjs' WebAssembly backend: slower than native code, but available wherever Node runs. */
import { createRequire } from 'node:module';
import { dirname, sep } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { SaladError } from '../../../errors/index.js';
import type { Engine } from '../../engine.js';
import { loadTfjsModel, type TfjsRuntime } from '../tfjs-model.js';

/** Registers the backend once and makes it the current one. */
async function startBackend(): Promise<void> {
  try {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm');
    if (tf.findBackend('wasm') === null) {
      const entry = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
      setWasmPaths(dirname(entry) + sep);
    }
    if (!(await tf.setBackend('wasm'))) throw new Error('tfjs could not start its wasm backend');
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new SaladError('ENGINE_UNAVAILABLE', `wasm does not start: ${message}`, { cause: error });
  }
}

/** No guard is needed: a failure inside the WebAssembly instance throws. */
const RUNTIME: TfjsRuntime = { engine: 'wasm', backend: 'wasm', guard: (work) => work() };

/** @throws SaladError ENGINE_UNAVAILABLE where the backend does not start. */
export async function createWasmEngine(): Promise<Engine> {
  await startBackend();
  const simd = (await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')) === true;
  return {
    info: {
      name: 'wasm',
      device: `WebAssembly, 1 thread${simd ? ', SIMD' : ''}`,
      hardware: false,
      maxWorkers: null,
      canUseSessionThreads: false,
    },
    load: (source) => loadTfjsModel(RUNTIME, source),
    async dispose() {},
  };
}
