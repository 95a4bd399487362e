/**
 * Gradients for tfjs. `@tensorflow/tfjs-core` registers none by itself; importing the layers package does.
 * One is replaced on every backend by an equal but faster form.
 */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-layers';

let registered = false;

/**
 * Makes tf.grads usable. The stock gradient of leaky ReLU runs three kernels (greater, multiply, select) that are
 * slow loops on wasm; dy·step(x, alpha), where step is 1 above 0 and alpha elsewhere, is the same number.
 */
export function registerGradients(): void {
  if (registered) return;
  registered = true;
  tf.unregisterGradient('LeakyRelu');
  tf.registerGradient({
    kernelName: 'LeakyRelu',
    inputsToSave: ['x'],
    gradFunc: (dy, saved, attrs) => ({
      x: () => tf.mul(dy as tf.Tensor, tf.step(saved[0]!, attrs['alpha'] as number)),
    }),
  });
}
