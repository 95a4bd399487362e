/** Copies tensors to the host. */
import type * as tf from '@tensorflow/tfjs-core';

/**
 * Reads the values of a tensor. Copies them, because a backend may return its own memory. Uses `data`, not `dataSync`,
 * because the values of a GPU backend arrive asynchronously.
 */
export async function readTensor(tensor: tf.Tensor): Promise<Float32Array> {
  return (await tensor.data<'float32'>()).slice();
}
