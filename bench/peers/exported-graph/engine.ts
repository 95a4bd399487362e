/**
 * The onnx engine with the exported graph: one session with the bytes of `models export --onnx`, which the other servers
 * of suite `peers` run, without the search in parts and without chunks of the bank.
 */
import type { Engine, EngineName, EngineOptions } from '../../../src/engines/engine.js';
import { createEngine } from '../../../src/engines/selection/select.js';

export async function createExportedGraphEngine(name: EngineName, options: EngineOptions): Promise<Engine> {
  const engine = await createEngine(name, options);
  return {
    ...engine,
    load({ search, ...encoder }) {
      if (search === undefined) return engine.load(encoder);
      const whole = { ...search.options, inParts: false, similarityBytesMax: Number.POSITIVE_INFINITY };
      return engine.load({ ...encoder, search: { ...search, options: whole } });
    },
  };
}
