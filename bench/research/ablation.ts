/**
 * The ablation of preset `gabor`, on training normals and synthetic lesions (bench/research/validation.ts): no test
 * folder is opened. Deterministic except for its timings.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { note } from '../../src/cli/shared/output.js';
import { createEngine } from '../../src/engines/selection/select.js';
import { decodeImage } from '../../src/imaging/decode/decode.js';
import { loadDataset, withoutDuplicates } from '../../src/training/data/dataset.js';
import { packageRoot } from '../../src/util/package-root.js';
import type { BenchOptions } from '../support/options.js';
import { ROWS } from './ablation-rows.js';
import { type DecodedNormal, validatePlans, validationSets } from './validation.js';

const SETS = ['zhanglab', 'cxr'] as const;
/** Learned encoders take a minute or two each: on one set. */
const LEARNED_SET: (typeof SETS)[number] = 'zhanglab';
const SEED = 1;
/** Of the images that lie there: enough to rank settings, few enough for half an hour. */
const LIMITS = { share: 0.3, fitLimit: 150, heldOutLimit: 100, seed: SEED };
const QUICK = { ...LIMITS, fitLimit: 60, heldOutLimit: 30 };

async function normalsOf(folder: string): Promise<DecodedNormal[]> {
  const { images } = await loadDataset(folder);
  return Promise.all(
    withoutDuplicates(images).map(async ({ id, patient, path }) => ({
      id,
      patient,
      decoded: await decodeImage(await readFile(path), { maxPixels: 1 << 24 }),
    })),
  );
}

export async function benchDetectionAblation({ quick }: BenchOptions): Promise<Record<string, unknown>> {
  const engine = await createEngine('onnx');
  const scratch = mkdtempSync(join(tmpdir(), 'salad-ablation-'));
  const results: Record<string, unknown> = {};
  try {
    for (const set of SETS) {
      const folder = join(packageRoot(), '../shared/data', set, 'train');
      if (!existsSync(folder)) {
        results[set] = { skipped: `${set}/train is not beside the checkout` };
        continue;
      }
      const sets = validationSets(await normalsOf(folder), quick ? QUICK : LIMITS);
      const rows: Record<string, unknown>[] = [];
      for (const { group, name, plans, learned, coreset } of ROWS) {
        if (learned && (quick || set !== LEARNED_SET)) continue;
        const checkpointDirectory = join(scratch, `${set}-${rows.length}`);
        const figures = await validatePlans(plans, sets, {
          engine,
          seed: SEED,
          checkpointDirectory,
          ...(coreset && { coreset }),
        });
        rows.push({ group, name, ...figures });
        note(`bench: ${set}, ${group}, ${name}: ${JSON.stringify(figures)}`);
      }
      results[set] = { fit: sets.fit.length, heldOut: sets.heldOut.length, rows };
    }
    return results;
  } finally {
    await engine.dispose();
    rmSync(scratch, { recursive: true });
  }
}
