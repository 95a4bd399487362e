/**
 * Describes patches by two groups of channels on one grid of cells: the log-Gabor map and the feature maps of a
 * pretrained encoder (docs/explanation/pretrained-encoder.md).
 */
import { SaladError } from '../../../errors/index.js';
import type { NetworkNode } from '../../../network/description.js';
import type { NodeShape } from '../../../network/shapes.js';
import type { GroupedDescriptor } from '../fit-grouped-whitening.js';
import { addGaborMap, DescriptorGraph, gaborChannels } from '../gabor/network.js';
import type { PretrainedEncoder } from '../preset.js';
import { featureShapes } from './encoder-file.js';

/** Prefix of the encoder's nodes, so that no name is used twice. */
const PREFIX = 'encoder_';

export interface PatchWindow {
  /** Side of a patch in cells; 1: a patch is one cell. */
  readonly window: number;
  /** Cells from one patch to the next. */
  readonly stride: number;
}

export interface PretrainedNetworkOptions extends PatchWindow {
  /** Multiple of 32. */
  readonly workingSize: number;
  /** Levels of the log-Gabor map. */
  readonly levels: number;
  /** Side of a cell in pixels. */
  readonly cell: number;
  /** Floor of the log-Gabor magnitudes. */
  readonly floor: number;
  readonly encoder: PretrainedEncoder;
}

function prefixed(node: NetworkNode): NetworkNode {
  const named = (name: string): string => (name === 'input' ? name : PREFIX + name);
  return {
    ...node,
    name: named(node.name),
    ...('inputs' in node ? { inputs: node.inputs.map(named) } : { input: named(node.input) }),
  } as NetworkNode;
}

/** Brings a feature map to the grid of cells: means of whole cells, or bilinear interpolation of a coarser map. */
function toCells(graph: DescriptorGraph, name: string, shape: NodeShape, cells: number): string {
  if (shape.height !== shape.width) {
    throw new SaladError('BUNDLE_INVALID', `network: feature map ${name} is not square`);
  }
  if (shape.height === cells) return name;
  if (shape.height > cells && shape.height % cells === 0) {
    const side = shape.height / cells;
    return graph.averagePool(`${name}_cells`, name, side, side);
  }
  const size = { height: cells, width: cells, alignCorners: false };
  return graph.add({ name: `${name}_cells`, op: 'resizeBilinear', input: name, ...size });
}

/** @throws SaladError BUNDLE_INVALID for an encoder that does not fit the working size. */
export function pretrainedNetwork(options: PretrainedNetworkOptions): GroupedDescriptor {
  const { workingSize, cell, encoder, window, stride } = options;
  const cells = workingSize / cell;
  const graph = new DescriptorGraph(options.floor);
  const gaborMap = addGaborMap(graph, options);
  const shapes = featureShapes(encoder, workingSize);
  for (const node of encoder.nodes) graph.add(prefixed(node));
  for (const [name, tensor] of encoder.weights) graph.weights.set(PREFIX + name, tensor);
  const maps = encoder.features.map((name, index) => toCells(graph, PREFIX + name, shapes[index]!, cells));
  const encoderMap = graph.add({ name: 'features', op: 'concat', inputs: maps });
  const channels = shapes.reduce((sum, shape) => sum + shape.channels, 0);
  const groups = [
    { name: 'texture', map: gaborMap, channels: gaborChannels(options) },
    { name: 'shape', map: encoderMap, channels },
  ].map(({ name, map, channels: count }) =>
    window === 1
      ? { name, input: map, dimension: count }
      : { name, input: graph.descriptor(map, window, stride, `${name}_`), dimension: 2 * count },
  );
  return { inputSize: workingSize, nodes: graph.nodes, weights: graph.weights, groups };
}
