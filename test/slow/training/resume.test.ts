import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { prepareTrainingBackend } from '../../../src/training/backend/prepare.js';
import { readCheckpoint } from '../../../src/training/encoders/salad/checkpoint.js';
import { trainSaladEncoder } from '../../../src/training/encoders/salad/trainer.js';
import { syntheticTiles, tinyConfig } from '../../unit/training/encoders/salad/synthetic-tiles.js';

/** Starts the child process and kills it with SIGKILL after `batches` batches. */
async function trainAndKill(directory: string, batches: number): Promise<void> {
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', fileURLToPath(new URL('./resume-child.ts', import.meta.url)), directory],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const ended = new Promise<NodeJS.Signals | null>((resolve) => {
    child.once('exit', (_, signal) => resolve(signal));
  });
  let batchesDone = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    if (!/^\d+ \d+$/.test(line)) continue;
    batchesDone++;
    if (batchesDone === batches) child.kill('SIGKILL');
  }
  assert.equal(await ended, 'SIGKILL', 'the child must not have finished by itself');
}

describe('SALAD training that is killed', function () {
  this.timeout(120_000);

  it('resumes from its checkpoint to the bytes of an uninterrupted run', async () => {
    await prepareTrainingBackend('wasm');
    const directory = await mkdtemp(path.join(tmpdir(), 'salad-kill-'));
    try {
      await trainAndKill(directory, 23);
      const { meta } = (await readCheckpoint(directory))!;
      assert.ok(meta.epoch >= 10 && meta.epoch < 46, `stopped in epoch ${meta.epoch}`);
      await trainAndKill(directory, 1);
      const run = {
        tiles: syntheticTiles(7, 2, 16, 1),
        config: tinyConfig({ epochsPerRound: 15 }),
        seed: 5,
      };
      const resumed = await trainSaladEncoder({ ...run, checkpointDirectory: directory, resume: true });
      const whole = await trainSaladEncoder(run);
      assert.deepEqual([...resumed.weights], [...whole.weights]);
      assert.deepEqual(resumed.history, whole.history);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
