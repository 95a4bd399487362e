/** Batch norm by the batch's own statistics, with its gradient written out: half the passes of the derived one. */
import * as tf from '@tensorflow/tfjs-core';
import { BATCH_NORM_EPSILON } from './constants.js';

const OVER_SAMPLES = [0, 1, 2];

export interface BatchNormed {
  /** [batch, height, width, channels]. */
  readonly y: tf.Tensor4D;
  /** Of the batch, [channels]; no gradient flows through them. */
  readonly mean: tf.Tensor1D;
  /** Biased, [channels]. */
  readonly variance: tf.Tensor1D;
}

/**
 * y = γ·(x − mean)/√(variance + ε) + β over batch, height and width.
 *
 * @param x float32 [batch, height, width, channels]
 */
export function batchNormTraining(x: tf.Tensor4D, gamma: tf.Tensor1D, beta: tf.Tensor1D): BatchNormed {
  const mean = tf.mean(x, OVER_SAMPLES) as tf.Tensor1D;
  const centred = tf.sub(x, mean);
  const variance = tf.mean(tf.square(centred), OVER_SAMPLES) as tf.Tensor1D;
  const inverse = tf.rsqrt(tf.add(variance, BATCH_NORM_EPSILON));
  // The gradient knows x, γ and β only: what is made of x above does not enter the tape a second time.
  const normalise = tf.customGrad((...args) => {
    const [, gain, shift, save] = args as unknown as [tf.Tensor, tf.Tensor, tf.Tensor, tf.GradSaveFunc];
    const scale = tf.mul(gain, inverse);
    save([centred, inverse, scale]);
    return {
      value: tf.add(tf.mul(centred, scale), shift),
      gradFunc: (dy, saved) => gradient(dy as tf.Tensor, saved, x.size / x.shape[3]),
    };
  });
  return { y: normalise(x, gamma, beta) as tf.Tensor4D, mean, variance };
}

/** dβ = Σdy, dγ = Σdy·x̂, dx = γ/σ·(dy − dβ/n − x̂·dγ/n) with x̂ = centred/σ. */
function gradient(dy: tf.Tensor, saved: tf.Tensor[], count: number): tf.Tensor[] {
  const [centred, inverse, scale] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
  const dBeta = tf.sum(dy, OVER_SAMPLES);
  const dGamma = tf.mul(tf.sum(tf.mul(dy, centred), OVER_SAMPLES), inverse);
  const slope = tf.div(tf.mul(tf.mul(scale, inverse), dGamma), count);
  const level = tf.div(tf.mul(scale, dBeta), count);
  const dx = tf.sub(tf.mul(dy, scale), tf.add(tf.mul(centred, slope), level));
  return [dx, dGamma, dBeta];
}
