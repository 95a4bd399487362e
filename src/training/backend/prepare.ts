/**
 * Selects the tfjs backend for training: the native TensorFlow binding where it loads, else WebAssembly; WebGPU only on
 * request.
 */
import * as tf from '@tensorflow/tfjs-core';
import { loadTensorflow } from '../../engines/tfjs/tensorflow/binding.js';
import { SaladError } from '../../errors/index.js';
import { registerGradients } from './gradients.js';
import { registerWasmTrainingKernels } from './wasm-kernels.js';

export type TrainingBackendName = 'tensorflow' | 'webgpu' | 'wasm' | 'cpu';

export interface TrainingBackend {
  readonly name: TrainingBackendName;
  /** Human-readable, such as "CPU, 1 thread, SIMD". */
  readonly device: string;
  /** Why the preferred backend was not used; absent where it was. */
  readonly fallbackReason?: string;
  /** Releases the device and the tensors on it. Absent where there is nothing to release. */
  readonly release?: () => void;
}

interface BackendFailure {
  readonly reason: string;
}

function failureOf(error: unknown): BackendFailure {
  return { reason: error instanceof Error ? error.message : String(error) };
}

async function startTensorflow(): Promise<TrainingBackend | BackendFailure> {
  try {
    const { usesGpu, version } = await loadTensorflow();
    await tf.ready();
    return { name: 'tensorflow', device: `${usesGpu ? 'GPU (CUDA)' : 'CPU'}, libtensorflow ${version}` };
  } catch (error) {
    return failureOf(error);
  }
}

async function startWebgpu(): Promise<TrainingBackend> {
  const { acquireDevice } = await import('../../engines/tfjs/webgpu/dawn.js');
  const { description, hardware, release } = await acquireDevice();
  await tf.setBackend('webgpu');
  return { name: 'webgpu', device: hardware ? description : `${description} (software)`, release };
}

async function startWasm(): Promise<TrainingBackend | BackendFailure> {
  try {
    await import('@tensorflow/tfjs-backend-wasm');
    if (!(await tf.setBackend('wasm'))) return { reason: 'the wasm backend did not start' };
    await tf.ready();
    registerWasmTrainingKernels();
    const hasSimd = (await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')) === true;
    return { name: 'wasm', device: `CPU, 1 thread${hasSimd ? ', SIMD' : ''}` };
  } catch (error) {
    return failureOf(error);
  }
}

async function startCpu(): Promise<TrainingBackend> {
  await import('@tensorflow/tfjs-backend-cpu');
  await tf.setBackend('cpu');
  await tf.ready();
  return { name: 'cpu', device: 'CPU, plain JavaScript' };
}

/**
 * Makes one tfjs backend the current one and registers the gradients. `auto` prefers the native binding and never
 * chooses WebGPU: its sums depend on the GPU, so the same command would give other bytes on another machine.
 * `tensorflow` falls back to wasm and states the reason, because the binding is an optional dependency.
 *
 * @throws SaladError ENGINE_UNAVAILABLE where wasm cannot start, or where WebGPU is requested and not available
 */
export async function prepareTrainingBackend(
  preference: TrainingBackendName | 'auto',
): Promise<TrainingBackend> {
  registerGradients();
  if (preference === 'cpu') return startCpu();
  if (preference === 'webgpu') return startWebgpu();
  let fallbackReason: string | undefined;
  if (preference !== 'wasm') {
    const tensorflow = await startTensorflow();
    if ('name' in tensorflow) return tensorflow;
    fallbackReason = tensorflow.reason;
  }
  const wasm = await startWasm();
  if ('reason' in wasm) throw new SaladError('ENGINE_UNAVAILABLE', `wasm cannot train: ${wasm.reason}`);
  return fallbackReason === undefined ? wasm : { ...wasm, fallbackReason };
}
