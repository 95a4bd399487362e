/**
 * Reads an encoder file: a pretrained network as safetensors. The weights are named as in a bundle; the metadata's text
 * `salad.encoder` describes the network in JSON (docs/explanation/pretrained-encoder.md).
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { decodeSafetensors, safetensorsMetadata } from '../../../bundle/safetensors.js';
import { SaladError, systemReason } from '../../../errors/index.js';
import { type NetworkDescription, nodeSchema } from '../../../network/description.js';
import { checkWeights, inferShapes, type NodeShape } from '../../../network/shapes.js';
import type { PretrainedEncoder } from '../preset.js';

const METADATA_KEY = 'salad.encoder';

const descriptionSchema = z.strictObject({
  /** Human-readable, for the model card. */
  name: z.string(),
  /** Where the weights come from. */
  source: z.string(),
  /** SPDX identifier. */
  licence: z.string(),
  /** Copyright, and the changes to the weights. */
  notice: z.string(),
  /** From `input`, the grey values 0..255 of the working image; normalisation is part of the network. */
  nodes: z.array(nodeSchema).min(1),
  /** Nodes whose feature maps describe patches. */
  features: z.array(z.string()).min(1),
});

function invalid(file: string, message: string, cause?: unknown): SaladError {
  return new SaladError('CONFIGURATION_INVALID', `--encoder ${file}: ${message}`, { cause });
}

/** @throws SaladError CONFIGURATION_INVALID where the file cannot be read or is no encoder file. */
export async function readEncoderFile(file: string): Promise<PretrainedEncoder> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (error) {
    throw invalid(file, `cannot be read: ${systemReason(error)}`, error);
  }
  try {
    return decodeEncoder(bytes, file);
  } catch (error) {
    if (error instanceof SaladError && error.reason === 'CONFIGURATION_INVALID') throw error;
    throw invalid(file, (error as Error).message, error);
  }
}

function decodeEncoder(bytes: Uint8Array, file: string): PretrainedEncoder {
  const text = safetensorsMetadata(bytes, file)[METADATA_KEY];
  if (typeof text !== 'string') throw invalid(file, `has no metadata ${METADATA_KEY}: it is no encoder file`);
  const parsed = descriptionSchema.safeParse(JSON.parse(text));
  if (!parsed.success) throw invalid(file, `${METADATA_KEY}: ${z.prettifyError(parsed.error)}`);
  const weights = new Map(
    [...decodeSafetensors(bytes, file)].map(([name, { shape, data }]) => [
      name,
      { shape, data: Float32Array.from(data) },
    ]),
  );
  return { ...parsed.data, weights };
}

/**
 * The shapes of the feature maps for a working image of a size.
 * @throws SaladError BUNDLE_INVALID where the network is no proper graph, a weight is missing or a feature is no node.
 */
export function featureShapes(
  { nodes, features, weights }: PretrainedEncoder,
  workingSize: number,
): readonly NodeShape[] {
  const network: NetworkDescription = { inputSize: workingSize, nodes: [...nodes], output: features.at(-1)! };
  checkWeights(network, weights);
  const shapes = inferShapes(network);
  return features.map((name) => {
    const shape = shapes.get(name);
    if (shape === undefined) throw new SaladError('BUNDLE_INVALID', `network: feature ${name} is not a node`);
    return shape;
  });
}
