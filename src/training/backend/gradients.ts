/**
 * Gradients for tfjs. `@tensorflow/tfjs-core` registers none by itself; importing the layers package does.
 * One is replaced on every backend by an equal but faster form.
 */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-layers';

let registered = false;

/**
 * Makes tf.grads usable. The stock gradient of leaky ReLU runs three kernels (greater, multiply, select) that are
 * slow loops on wasm; dy·step(y, alpha), where step is 1 above 0 and alpha elsewhere, is the same number: y has the
 * sign of x where alpha is above 0, and the layer that follows holds it anyway.
 */
export function registerGradients(): void {
  if (registered) return;
  registered = true;
  tf.unregisterGradient('LeakyRelu');
  tf.registerGradient({
    kernelName: 'LeakyRelu',
    outputsToSave: [true],
    gradFunc: (dy, saved, attrs) => ({
      x: () => {
        const dx = tf.mul(dy as tf.Tensor, tf.step(saved[0]!, attrs['alpha'] as number));
        // tfjs would hold it to the end of the step; nothing reads it again.
        (dy as tf.Tensor).dispose();
        return dx;
      },
    }),
  });
}
