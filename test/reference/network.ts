/** The slow and obvious float64 version of the network description: one loop per axis, no library. */
import {
  type ConvolutionNode,
  inputWidthOf,
  type NetworkDescription,
  type NetworkNode,
  nodeInputs,
  type Weights,
} from '../../src/network/description.js';

/** One sample, [height][width][channels] flattened. */
export interface Plane {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly data: Float64Array;
}

function build(
  height: number,
  width: number,
  channels: number,
  value: (y: number, x: number, c: number) => number,
): Plane {
  const data = new Float64Array(height * width * channels);
  let at = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) for (let c = 0; c < channels; c++) data[at++] = value(y, x, c);
  }
  return { height, width, channels, data };
}

function at(plane: Plane, y: number, x: number, c: number): number {
  return plane.data[(y * plane.width + x) * plane.channels + c]!;
}

function inside(plane: Plane, y: number, x: number): boolean {
  return y >= 0 && x >= 0 && y < plane.height && x < plane.width;
}

function each(plane: Plane, f: (value: number) => number): Plane {
  return { ...plane, data: plane.data.map(f) };
}

function reflect(index: number, size: number): number {
  if (index < 0) return -index;
  return index >= size ? 2 * (size - 1) - index : index;
}

/** Zeros before, and samples after sliding, along one axis. */
function slide(length: number, node: ConvolutionNode): readonly [before: number, outputs: number] {
  const { kernelSize: k, stride, padding } = node;
  if (padding !== 'same') return [padding, Math.floor((length + 2 * padding - k) / stride) + 1];
  const outputs = Math.ceil(length / stride);
  return [Math.floor(Math.max(0, (outputs - 1) * stride + k - length) / 2), outputs];
}

function conv(x: Plane, node: ConvolutionNode, weights: Weights): Plane {
  const kernel = weights.get(`${node.name}/kernel`)!.data;
  const bias = node.bias ? weights.get(`${node.name}/bias`)!.data : undefined;
  const { kernelSize: k, stride } = node;
  const [inChannels, outChannels] =
    node.op === 'conv' ? [node.inChannels, node.outChannels] : [1, node.channels];
  const [top, height] = slide(x.height, node);
  const [left, width] = slide(x.width, node);
  return build(height, width, outChannels, (oy, ox, oc) => {
    let sum = bias?.[oc] ?? 0;
    for (let ky = 0; ky < k; ky++) {
      for (let kx = 0; kx < k; kx++) {
        const y = oy * stride + ky - top;
        const xx = ox * stride + kx - left;
        if (!inside(x, y, xx)) continue;
        for (let ic = 0; ic < inChannels; ic++) {
          const channel = node.op === 'conv' ? ic : oc;
          sum += at(x, y, xx, channel) * kernel[((ky * k + kx) * inChannels + ic) * outChannels + oc]!;
        }
      }
    }
    return sum;
  });
}

/** Every input sample adds its kernel, scaled, to the output around it. */
function convTranspose(
  x: Plane,
  node: Extract<NetworkNode, { op: 'convTranspose' }>,
  weights: Weights,
): Plane {
  const kernel = weights.get(`${node.name}/kernel`)!.data;
  const { kernelSize: k, inChannels, outChannels } = node;
  const out = build(x.height + k - 1, x.width + k - 1, outChannels, () => 0);
  for (let y = 0; y < x.height; y++) {
    for (let xx = 0; xx < x.width; xx++) {
      for (let ky = 0; ky < k; ky++) {
        for (let kx = 0; kx < k; kx++) {
          for (let oc = 0; oc < outChannels; oc++) {
            for (let ic = 0; ic < inChannels; ic++) {
              const target = ((y + ky) * out.width + xx + kx) * outChannels + oc;
              out.data[target]! +=
                at(x, y, xx, ic) * kernel[((ky * k + kx) * outChannels + oc) * inChannels + ic]!;
            }
          }
        }
      }
    }
  }
  return out;
}

function pool(
  x: Plane,
  node: { readonly size: number; readonly stride: number },
  padding: number,
  reduce: (values: number[]) => number,
): Plane {
  const side = (length: number): number => Math.floor((length + 2 * padding - node.size) / node.stride) + 1;
  return build(side(x.height), side(x.width), x.channels, (oy, ox, c) => {
    const values: number[] = [];
    for (let ky = 0; ky < node.size; ky++) {
      for (let kx = 0; kx < node.size; kx++) {
        const y = oy * node.stride + ky - padding;
        const xx = ox * node.stride + kx - padding;
        if (inside(x, y, xx)) values.push(at(x, y, xx, c));
      }
    }
    return reduce(values);
  });
}

/** Where an output index lies between two input indices. */
function between(index: number, from: number, to: number, alignCorners: boolean): [number, number, number] {
  const source = alignCorners
    ? to > 1
      ? (index * (from - 1)) / (to - 1)
      : 0
    : Math.min(from - 1, Math.max(0, ((index + 0.5) * from) / to - 0.5));
  const low = Math.floor(source);
  return [low, Math.min(from - 1, low + 1), source - low];
}

function resize(x: Plane, node: Extract<NetworkNode, { op: 'resizeBilinear' }>): Plane {
  return build(node.height, node.width, x.channels, (oy, ox, c) => {
    const [top, bottom, fy] = between(oy, x.height, node.height, node.alignCorners);
    const [left, right, fx] = between(ox, x.width, node.width, node.alignCorners);
    const upper = at(x, top, left, c) * (1 - fx) + at(x, top, right, c) * fx;
    const lower = at(x, bottom, left, c) * (1 - fx) + at(x, bottom, right, c) * fx;
    return upper * (1 - fy) + lower * fy;
  });
}

function l2Normalize(x: Plane): Plane {
  return build(x.height, x.width, x.channels, (y, xx, c) => {
    let sum = 0;
    for (let other = 0; other < x.channels; other++) sum += at(x, y, xx, other) ** 2;
    return at(x, y, xx, c) / Math.sqrt(sum + 1e-12);
  });
}

function batchNorm(x: Plane, name: string, weights: Weights): Plane {
  const read = (role: string, c: number): number => weights.get(`${name}/${role}`)!.data[c]!;
  return build(x.height, x.width, x.channels, (y, xx, c) => {
    const normal = (at(x, y, xx, c) - read('mean', c)) / Math.sqrt(read('variance', c) + 1e-5);
    return normal * read('gamma', c) + read('beta', c);
  });
}

function apply(node: NetworkNode, inputs: readonly Plane[], weights: Weights): Plane {
  const x = inputs[0]!;
  const pairwise = (f: (a: number, b: number) => number): Plane => ({
    ...x,
    data: x.data.map((value, index) => f(value, inputs[1]!.data[index]!)),
  });
  switch (node.op) {
    case 'affine':
      return each(x, (value) => value * node.scale + node.shift);
    case 'clip':
      return each(x, (value) => Math.min(node.high, Math.max(node.low, value)));
    case 'reflectPad':
      return build(x.height + 2 * node.size, x.width + 2 * node.size, x.channels, (y, xx, c) =>
        at(x, reflect(y - node.size, x.height), reflect(xx - node.size, x.width), c),
      );
    case 'conv':
    case 'depthwiseConv':
      return conv(x, node, weights);
    case 'convTranspose':
      return convTranspose(x, node, weights);
    case 'batchNorm':
      return batchNorm(x, node.name, weights);
    case 'leakyRelu':
      return each(x, (value) => (value >= 0 ? value : value * node.alpha));
    case 'tanh':
      return each(x, Math.tanh);
    case 'square':
      return each(x, (value) => value * value);
    case 'sqrt':
      return each(x, (value) => Math.sqrt(value + node.epsilon));
    case 'log':
      return each(x, (value) => Math.log(value + node.epsilon));
    case 'avgPool':
      return pool(x, node, node.padding, (values) => values.reduce((a, b) => a + b, 0) / values.length);
    case 'maxPool':
      return pool(x, node, 0, (values) => Math.max(...values));
    case 'resizeBilinear':
      return resize(x, node);
    case 'crop':
      return build(node.size, node.width ?? node.size, x.channels, (y, xx, c) =>
        at(x, y + node.offset, xx + node.offset, c),
      );
    case 'sliceChannels':
      return build(x.height, x.width, node.size, (y, xx, c) => at(x, y, xx, c + node.offset));
    case 'add':
      return pairwise((a, b) => a + b);
    case 'subtract':
      return pairwise((a, b) => a - b);
    case 'multiply':
      return pairwise((a, b) => a * b);
    case 'concat': {
      const owners = inputs.flatMap((plane) =>
        Array.from({ length: plane.channels }, (_, c) => ({ plane, c })),
      );
      return build(x.height, x.width, owners.length, (y, xx, c) => at(owners[c]!.plane, y, xx, owners[c]!.c));
    }
    case 'l2Normalize':
      return l2Normalize(x);
  }
}

/** Output node of one tile (u8 samples), or of one decoder input where a Plane is given. */
export function referenceForward(
  network: NetworkDescription,
  weights: Weights,
  input: Uint8Array | Plane,
): Plane {
  const [height, width] = [network.inputSize, inputWidthOf(network)];
  const first =
    input instanceof Uint8Array ? { height, width, channels: 1, data: Float64Array.from(input) } : input;
  const planes = new Map<string, Plane>([['input', first]]);
  for (const node of network.nodes) {
    const inputs = nodeInputs(node).map((name) => planes.get(name)!);
    planes.set(node.name, apply(node, inputs, weights));
  }
  return planes.get(network.output)!;
}
