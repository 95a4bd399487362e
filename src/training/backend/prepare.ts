/** Which tensor backend trains: the native TensorFlow binding where it loads, else WebAssembly; WebGPU where asked. */
import * as tf from '@tensorflow/tfjs-core';
import { loadTensorflow } from '../../engines/tfjs/tensorflow/binding.js';
import { SaladError } from '../../errors/index.js';
import { registerGradients } from './gradients.js';
import { registerWasmTrainingKernels } from './wasm-kernels.js';

export const TRAINING_BACKENDS = ['tensorflow', 'webgpu', 'wasm', 'cpu'] as const;
export type TrainingBackendName = (typeof TRAINING_BACKENDS)[number];

export interface TrainingBackend {
  readonly name: TrainingBackendName;
  /** For people, such as "CPU, 1 thread, SIMD". */
  readonly device: string;
  /** Why a better backend was passed over; absent where the first choice was taken. */
  readonly fallbackReason?: string;
  /** Gives a device back; tensors on it are lost. Absent where there is nothing to give back. */
  readonly release?: () => void;
}

async function useTensorflow(): Promise<TrainingBackend | { readonly reason: string }> {
  try {
    const { usesGpu, version } = await loadTensorflow();
    await tf.ready();
    return { name: 'tensorflow', device: `${usesGpu ? 'GPU (CUDA)' : 'CPU'}, libtensorflow ${version}` };
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}

async function useWebgpu(): Promise<TrainingBackend> {
  const { acquireDevice } = await import('../../engines/tfjs/webgpu/dawn.js');
  const { description, hardware, release } = await acquireDevice();
  await tf.setBackend('webgpu');
  return { name: 'webgpu', device: hardware ? description : `${description} (software)`, release };
}

async function useWasm(): Promise<TrainingBackend | { readonly reason: string }> {
  try {
    await import('@tensorflow/tfjs-backend-wasm');
    if (!(await tf.setBackend('wasm'))) return { reason: 'the wasm backend did not start' };
    await tf.ready();
    registerWasmTrainingKernels();
    const simd = (await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')) === true;
    return { name: 'wasm', device: `CPU, 1 thread${simd ? ', SIMD' : ''}` };
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}

async function useCpu(): Promise<TrainingBackend> {
  await import('@tensorflow/tfjs-backend-cpu');
  await tf.setBackend('cpu');
  await tf.ready();
  return { name: 'cpu', device: 'CPU, plain JavaScript' };
}

/**
 * Makes one tfjs backend the current one and fit for taking gradients. `auto` prefers the native binding, and never
 * takes WebGPU: its sums depend on the GPU, so the same command would not give the same bytes elsewhere.
 * `tensorflow` falls back to wasm with a reason, because the binding is an optional dependency.
 *
 * @throws SaladError ENGINE_UNAVAILABLE where wasm cannot start, or WebGPU was asked for and is not there.
 */
export async function prepareTrainingBackend(
  preference: TrainingBackendName | 'auto',
): Promise<TrainingBackend> {
  registerGradients();
  if (preference === 'cpu') return useCpu();
  if (preference === 'webgpu') return useWebgpu();
  let reason: string | undefined;
  if (preference !== 'wasm') {
    const native = await useTensorflow();
    if ('name' in native) return native;
    reason = native.reason;
  }
  const wasm = await useWasm();
  if ('reason' in wasm) throw new SaladError('ENGINE_UNAVAILABLE', `wasm cannot train: ${wasm.reason}`);
  return reason === undefined ? wasm : { ...wasm, fallbackReason: reason };
}
