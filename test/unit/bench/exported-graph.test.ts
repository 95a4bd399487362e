import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { InferenceSession } from 'onnxruntime-node';
import { createExportedGraphEngine } from '../../../bench/peers/exported-graph/engine.js';
import { readBundle } from '../../../src/bundle/bundle.js';
import { createEngine } from '../../../src/engines/selection/select.js';
import { buildOnnx } from '../../../src/network/onnx/build.js';
import { shippedModels } from '../../../src/util/package-root.js';

/** The graphs that are opened during `work`. */
async function openedGraphs(work: () => Promise<void>): Promise<readonly Uint8Array[]> {
  const graphs: Uint8Array[] = [];
  const { create } = InferenceSession;
  InferenceSession.create = ((graph: Uint8Array, options: InferenceSession.SessionOptions) => {
    graphs.push(graph);
    return create(graph, options);
  }) as typeof create;
  try {
    await work();
  } finally {
    InferenceSession.create = create;
  }
  return graphs;
}

describe('the server of suite peers on the exported graph', function () {
  this.timeout(60_000);

  it('opens the bytes that the other servers open, and no graph for parts of the bank', async () => {
    const bundle = await readBundle(join(shippedModels(), 'phantom', '1'));
    const load = async (create: typeof createExportedGraphEngine) => {
      const engine = await create('onnx', {});
      const model = await engine.load(bundle);
      await model.dispose();
      await engine.dispose();
    };
    const [graph, ...others] = await openedGraphs(() => load(createExportedGraphEngine));
    assert.equal(others.length, 0);
    assert.ok(graph && Buffer.compare(graph, buildOnnx(bundle)) === 0);
    // Without it the engine searches the same bank in parts.
    assert.ok((await openedGraphs(() => load(createEngine))).length > 1);
  });
});
