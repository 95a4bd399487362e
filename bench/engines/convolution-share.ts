/** Measures the share of the convolutions in the time of an encoder on the onnx engine, by onnxruntime's profiler. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as onnxruntime from 'onnxruntime-node';
import type { EngineModelSource } from '../../src/engines/engine.js';
import { buildOnnx } from '../../src/network/onnx/build.js';

interface ProfileEvent {
  readonly name: string;
  /** Microseconds. */
  readonly dur: number;
  readonly args?: { readonly op_name?: string };
}

/** @returns time of all convolutions, fused with an activation or not, over that of all nodes, in [0, 1]; one thread */
export async function convolutionShare(
  source: EngineModelSource,
  batchSize: number,
  runs: number,
): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'salad-profile-'));
  try {
    const session = await onnxruntime.InferenceSession.create(buildOnnx(source), {
      executionProviders: ['cpu'],
      graphOptimizationLevel: 'all',
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
      enableProfiling: true,
      profileFilePrefix: join(folder, 'profile'),
    });
    const { tileHeight, tileWidth, tilePixels } = source.geometry;
    const pixels = new Uint8Array(batchSize * tilePixels).map((_, at) => (at * 31) % 256);
    const tiles = new onnxruntime.Tensor('uint8', pixels, [batchSize, tileHeight, tileWidth, 1]);
    for (let run = 0; run < runs; run++) await session.run({ tiles });
    session.endProfiling();
    await session.release();
    const file = readdirSync(folder)[0]!;
    const events = JSON.parse(readFileSync(join(folder, file), 'utf8')) as readonly ProfileEvent[];
    let [convolutions, all] = [0, 0];
    for (const { name, dur, args } of events) {
      if (!name.endsWith('_kernel_time')) continue;
      all += dur;
      if (/^(Fused)?Conv(Transpose)?$/.test(args?.op_name ?? '')) convolutions += dur;
    }
    return convolutions / all;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
