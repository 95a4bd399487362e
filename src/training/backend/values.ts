/** Tensors back to the host. */
import type * as tf from '@tensorflow/tfjs-core';

/** A copy: a backend may hand out its own memory. Never `dataSync`: a GPU's values cannot be had at once. */
export async function valuesOf(tensor: tf.Tensor): Promise<Float32Array> {
  return (await tensor.data<'float32'>()).slice();
}
