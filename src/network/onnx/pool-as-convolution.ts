/** Writes average pooling as a convolution, for the head of an encoder, which runs in bfloat16. */
import { type NetworkDescription, type NetworkNode, nodeInputs } from '../description.js';
import type { NodeShape } from '../shapes.js';
import type { OnnxWriter } from './writer.js';

type Pool = Extract<NetworkNode, { op: 'avgPool' }>;

/**
 * Finds the pools of the magnitudes of a filter bank. OpenVINO keeps tensors in float32 that no convolution follows;
 * written as convolutions, these pools let the magnitudes be bfloat16, which is twice as fast.
 * @returns the input shape of each pool, by its name
 */
export function magnitudePools(
  { nodes }: NetworkDescription,
  shapes: ReadonlyMap<string, NodeShape>,
): ReadonlyMap<string, NodeShape> {
  /** The operation that computes a tensor; crops are ignored. */
  const sourceOp = (name: string): string | undefined => {
    const node = nodes.find((each) => each.name === name);
    return node?.op === 'crop' ? sourceOp(nodeInputs(node)[0]!) : node?.op;
  };
  return new Map(
    nodes.flatMap((node) =>
      node.op === 'avgPool' && sourceOp(node.input) === 'sqrt'
        ? [[node.name, shapes.get(node.input)!] as const]
        : [],
    ),
  );
}

/** Gives the values of AveragePool with count_include_pad = 0. */
export function addPoolAsConvolution(writer: OnnxWriter, pool: Pool, input: string, shape: NodeShape): void {
  const { name, size, stride, padding } = pool;
  const { channels } = shape;
  const kernel = new Float32Array(channels * size * size).fill(1 / (size * size));
  const sum = writer.node(
    'Conv',
    [input, writer.floats(`${name}/kernel`, [channels, 1, size, size], kernel)],
    padding === 0 ? name : `${name}/padded`,
    {
      kernel_shape: [size, size],
      strides: [stride, stride],
      pads: Array<number>(4).fill(padding),
      group: channels,
    },
  );
  if (padding === 0) return;
  const rows = insideShares(shape.height, pool);
  const columns = insideShares(shape.width, pool);
  const factors = Float32Array.from(rows.flatMap((row) => columns.map((column) => 1 / (row * column))));
  const table = writer.floats(`${name}/factors`, [1, 1, rows.length, columns.length], factors);
  writer.node('Mul', [sum, table], name);
}

/** The share of a pool's window that lies inside its input, for every output along one axis. */
function insideShares(length: number, { size, stride, padding }: Pool): number[] {
  const outputs = Math.floor((length + 2 * padding - size) / stride) + 1;
  return Array.from({ length: outputs }, (_, at) => {
    const from = at * stride - padding;
    return (Math.min(length, from + size) - Math.max(0, from)) / size;
  });
}
