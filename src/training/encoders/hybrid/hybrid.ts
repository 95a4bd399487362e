/**
 * Preset `hybrid` (docs/results/2026-11/detection.md): one network with two members, log-Gabor energies and a SALAD encoder,
 * each whitened and of unit length on its own. Scaled by √share and side by side they have unit length again, and the
 * squared chord distance is the shares' mean of the members' own. Bank, search and calibration know nothing of it.
 */
import type { NetworkDescription, NetworkNode, WeightTensor } from '../../../network/description.js';
import { gaborNetwork } from '../gabor/network.js';
import { type GaborSettings, gaborPlanOf, gaborSettings } from '../gabor/presets.js';
import type {
  Encoder,
  FitContext,
  FitImage,
  PresetOptions,
  TrainingPlan,
  TrainingPreset,
} from '../preset.js';
import type { SaladConfig } from '../salad/config.js';
import { saladPreset, withFreeEmbeddingName } from '../salad/settings.js';
import type { TileSource } from '../salad/tiles.js';
import { trainedEncoder } from '../salad/training-presets.js';
import { whitened } from '../whitened.js';

export interface HybridSettings extends GaborSettings {
  /** The learned member; one embedding per patch of the Gabor grid. */
  readonly learned: SaladConfig;
  /** Weight of the learned member in the squared distance, in [0, 1]. */
  readonly learnedShare: number;
}

/** Cells of the learned member's deepest map under one patch: what its last convolution spans. */
const PATCH_CELLS = 4;

/** The learned member's configuration for patches of so many pixels: they are shrunk to 32. */
export function learnedMember(patchSize: number): SaladConfig {
  return { ...saladPreset('salad').config, reduction: patchSize / 32, downs: 3 };
}

/** The patches of complete working images as training tiles, cut when asked for. */
export function patchSource(
  images: readonly FitImage[],
  side: number,
  patchSize: number,
  stride: number,
): TileSource {
  const gridSide = Math.floor((side - patchSize) / stride) + 1;
  const perImage = gridSide * gridSide;
  const patients = [...new Set(images.map(({ patient }) => patient))];
  const patientIndex = new Map(patients.map((patient, index) => [patient, index]));
  const table = (of: (image: number, cell: number) => number): Int32Array =>
    Int32Array.from({ length: images.length * perImage }, (_, tile) =>
      of(Math.floor(tile / perImage), tile % perImage),
    );
  const imageOf = table((image) => image);
  const cellOf = table((_, cell) => cell);
  const whole = new Uint8Array(side * side);
  return {
    count: images.length * perImage,
    size: patchSize,
    imageOf,
    patientOf: table((image) => patientIndex.get(images[image]!.patient)!),
    cellOf,
    gridSide,
    overlapCells: Math.ceil(patchSize / stride),
    get(indices) {
      const out = new Uint8Array(indices.length * patchSize * patchSize);
      indices.forEach((tile, at) => {
        images[imageOf[tile]!]!.image.cutTile(0, 0, whole);
        const top = Math.floor(cellOf[tile]! / gridSide) * stride;
        const left = (cellOf[tile]! % gridSide) * stride;
        for (let row = 0; row < patchSize; row += 1) {
          const from = (top + row) * side + left;
          out.set(whole.subarray(from, from + patchSize), (at * patchSize + row) * patchSize);
        }
      });
      return out;
    },
  };
}

/**
 * A patch encoder run over a whole image in one pass: the same weights, its last convolution in steps of the patch
 * grid. A patch sees its neighbourhood where it saw zeros when it was trained alone.
 */
export function dense(network: NetworkDescription, settings: HybridSettings): NetworkDescription {
  const cell = (settings.window * settings.cell) / PATCH_CELLS;
  const stride = (settings.stride * settings.cell) / cell;
  const nodes = network.nodes.map((node) =>
    node.op === 'conv' && node.name === 'feature' ? { ...node, stride } : node,
  );
  return { ...network, inputSize: settings.workingSize, nodes };
}

/** Every node and weight of an encoder under names of its own, so that two fit into one network. */
function prefixed({ network, weights }: Encoder, prefix: string): Encoder {
  const renamed = (name: string): string => (name === 'input' ? name : `${prefix}_${name}`);
  const nodes = network.nodes.map((node): NetworkNode => {
    const name = renamed(node.name);
    if (node.op === 'concat') return { ...node, name, inputs: node.inputs.map(renamed) };
    if ('inputs' in node) {
      return { ...node, name, inputs: [renamed(node.inputs[0]), renamed(node.inputs[1])] };
    }
    return { ...node, name, input: renamed(node.input) };
  });
  return {
    network: { ...network, nodes, output: renamed(network.output) },
    weights: new Map([...weights].map(([name, tensor]): [string, WeightTensor] => [renamed(name), tensor])),
  };
}

/** Two encoders of unit embeddings on the same grid as one, `share` the second one's weight. */
export function joined(first: Encoder, second: Encoder, share: number): Encoder {
  const members = [prefixed(first, 'fixed'), prefixed(second, 'learned')] as const;
  const scaled = members.map(({ network }, index): NetworkNode => {
    const scale = Math.sqrt(index === 0 ? 1 - share : share);
    return { name: `member${index}`, op: 'affine', input: network.output, scale, shift: 0 };
  });
  const nodes: NetworkNode[] = [
    ...members[0].network.nodes,
    ...members[1].network.nodes,
    ...scaled,
    { name: 'embedding', op: 'concat', inputs: scaled.map(({ name }) => name) },
  ];
  return {
    network: { ...first.network, nodes, output: 'embedding' },
    weights: new Map([...members[0].weights, ...members[1].weights]),
  };
}

/** The learned member alone, whitened, over the whole image. */
export async function fitLearnedMember(settings: HybridSettings, context: FitContext): Promise<Encoder> {
  const { learned, workingSize, window, stride, cell } = settings;
  const tiles = patchSource(context.images, workingSize, window * cell, stride * cell);
  const { network, weights } = await trainedEncoder(learned, tiles, context);
  return whitened(
    { network: withFreeEmbeddingName(dense(network, settings)), weights, dimension: learned.embedding },
    context,
  );
}

async function fitHybrid(settings: HybridSettings, context: FitContext): Promise<Encoder> {
  const learned = await fitLearnedMember(settings, context);
  const fixed = await whitened(gaborNetwork(settings), context);
  return joined(fixed, learned, settings.learnedShare);
}

/** The plan of given settings. The learned member knows its training images: calibration is held out. */
export function hybridPlanOf(settings: HybridSettings): TrainingPlan {
  const plan = gaborPlanOf({ ...settings, calibration: 'heldOut' });
  // The first limit says that nothing is learned.
  const [, ...limits] = plan.limits;
  return {
    ...plan,
    limits: [
      `Fixed texture energy (log-Gabor) and a learned SALAD member, which counts ${100 * settings.learnedShare} % of the ` +
        'squared distance. On the radiographs it was tried on it did not help (docs/results/2026-11/detection.md).',
      ...limits,
    ],
    fitEncoder: (context) => fitHybrid(settings, context),
  };
}

/** Chosen on training normals and synthetic lesions (docs/results/2026-11/detection.md). */
const LEARNED_SHARE = 0.15;

/** The settings of the preset: those of `gabor` and a learned member on its grid. */
export function hybridSettings(options: PresetOptions = {}): HybridSettings {
  const settings = gaborSettings(options);
  const learned = learnedMember(settings.window * settings.cell);
  return { ...settings, learned, learnedShare: LEARNED_SHARE };
}

export const HYBRID_PRESET: TrainingPreset = {
  name: 'hybrid',
  description:
    'gabor with a learned SALAD member beside it in one network, which has not helped so far; minutes',
  plan: (options) => hybridPlanOf(hybridSettings(options)),
};
