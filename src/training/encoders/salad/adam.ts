/** Adam with the update rule of PyTorch's `torch.optim.Adam`; its state can be exported for checkpoints. */
import * as tf from '@tensorflow/tfjs-core';
import { readTensor } from '../../backend/read-tensor.js';

interface AdamOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** L2 added to the gradient (not decoupled). */
  readonly weightDecay: number;
}

/** The defaults of PyTorch. */
const PYTORCH_ADAM: AdamOptions = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 };

/** First and second moments of one parameter, on the tensor backend; owned by the optimiser. */
interface Moments {
  first: tf.Tensor;
  second: tf.Tensor;
}

export class Adam {
  private readonly moments = new Map<string, Moments>();
  private readonly options: AdamOptions;
  /** Steps taken. */
  step = 0;

  constructor(options: Partial<AdamOptions> = {}) {
    this.options = { ...PYTORCH_ADAM, ...options };
  }

  /** Must be called once before the updates of a step: the bias corrections count steps from 1. */
  beginStep(): void {
    this.step++;
  }

  /** Computes the new value of one parameter. The caller owns it, and disposes of `value` and `gradient`. */
  update(name: string, value: tf.Tensor, gradient: tf.Tensor, learningRate: number): tf.Tensor {
    const { beta1, beta2, epsilon, weightDecay } = this.options;
    const previous = this.moments.get(name) ?? { first: tf.zerosLike(value), second: tf.zerosLike(value) };
    const [first, second, updated] = tf.tidy(() => {
      const g = weightDecay === 0 ? gradient : tf.add(gradient, tf.mul(value, weightDecay));
      const m = tf.add(tf.mul(previous.first, beta1), tf.mul(g, 1 - beta1));
      const v = tf.add(tf.mul(previous.second, beta2), tf.mul(tf.square(g), 1 - beta2));
      const denominator = tf.add(tf.div(tf.sqrt(v), Math.sqrt(1 - beta2 ** this.step)), epsilon);
      const stepSize = learningRate / (1 - beta1 ** this.step);
      return [m, v, tf.sub(value, tf.mul(tf.div(m, denominator), stepSize))] as const;
    }) as unknown as readonly [tf.Tensor, tf.Tensor, tf.Tensor];
    tf.dispose([previous.first, previous.second]);
    this.moments.set(name, { first: tf.keep(first), second: tf.keep(second) });
    return updated;
  }

  /** Copies the moments to the host, as `<name>/first` and `<name>/second`. */
  async exportState(): Promise<Map<string, { shape: number[]; data: Float32Array }>> {
    const state = new Map<string, { shape: number[]; data: Float32Array }>();
    for (const [name, { first, second }] of this.moments) {
      state.set(`${name}/first`, { shape: first.shape, data: await readTensor(first) });
      state.set(`${name}/second`, { shape: second.shape, data: await readTensor(second) });
    }
    return state;
  }

  /** Replaces the state by one from `exportState`. */
  importState(
    step: number,
    state: ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }>,
  ): void {
    this.dispose();
    this.step = step;
    for (const [key, { shape, data }] of state) {
      if (!key.endsWith('/first')) continue;
      const name = key.slice(0, -'/first'.length);
      const second = state.get(`${name}/second`)!;
      this.moments.set(name, {
        first: tf.tensor(data, [...shape], 'float32'),
        second: tf.tensor(second.data, [...second.shape], 'float32'),
      });
    }
  }

  dispose(): void {
    for (const { first, second } of this.moments.values()) tf.dispose([first, second]);
    this.moments.clear();
  }
}
