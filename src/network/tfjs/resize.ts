/** Bilinear resizing on tfjs with a correct gradient for both conventions of pixel positions. */
import * as tf from '@tensorflow/tfjs-core';

/** Half-pixel interpolation along one axis as a matrix [to, from]: every row sums to 1. */
function interpolationMatrix(from: number, to: number): tf.Tensor2D {
  const matrix = new Float32Array(to * from);
  for (let index = 0; index < to; index++) {
    const source = Math.min(from - 1, Math.max(0, ((index + 0.5) * from) / to - 0.5));
    const low = Math.floor(source);
    const high = Math.min(from - 1, low + 1);
    matrix[index * from + low]! += 1 - (source - low);
    matrix[index * from + high]! += source - low;
  }
  return tf.tensor2d(matrix, [to, from]);
}

/** The transpose of half-pixel resizing: dy [batch, h, w, channels] → dx [batch, height, width, channels]. */
function halfPixelGradient(dy: tf.Tensor4D, height: number, width: number): tf.Tensor4D {
  const [batch, toHeight, toWidth, channels] = dy.shape;
  const planes = tf.transpose(dy, [0, 3, 1, 2]);
  const rows = tf.matMul(
    tf.reshape(planes, [batch * channels * toHeight, toWidth]),
    interpolationMatrix(width, toWidth),
  );
  const columns = tf.transpose(tf.reshape(rows, [batch, channels, toHeight, width]), [0, 1, 3, 2]);
  const dx = tf.matMul(
    tf.reshape(columns, [batch * channels * width, toHeight]),
    interpolationMatrix(height, toHeight),
  );
  return tf.transpose(tf.reshape(dx, [batch, channels, width, height]), [0, 3, 2, 1]);
}

/**
 * @param x [batch, h, w, channels]
 * @param alignCorners corner pixels map to corner pixels; else pixel centres lie at half steps.
 */
export function resizeBilinear(
  x: tf.Tensor4D,
  height: number,
  width: number,
  alignCorners: boolean,
): tf.Tensor4D {
  if (alignCorners) return tf.image.resizeBilinear(x, [height, width], true);
  // The gradient kernels of tfjs do not support half-pixel centres.
  const resize = tf.customGrad((input) => ({
    value: tf.image.resizeBilinear(input as tf.Tensor4D, [height, width], false, true),
    gradFunc: (dy: tf.Tensor) => halfPixelGradient(dy as tf.Tensor4D, x.shape[1], x.shape[2]),
  }));
  return resize(x) as tf.Tensor4D;
}
