import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { SYNTHETIC_LESIONS } from '../../../bench/research/synthetic-lesions.js';
import { type DecodedNormal, validatePlans, validationSets } from '../../../bench/research/validation.js';
import type { Engine } from '../../../src/engines/engine.js';
import { createEngine } from '../../../src/engines/selection/select.js';
import { makePhantom } from '../../../src/phantom/phantom.js';
import { gaborPlan, gaborSettings } from '../../../src/training/encoders/gabor/gabor-presets.js';

const SIZE = 128;

function normal(seed: number): DecodedNormal {
  const { samples } = makePhantom({ seed, size: SIZE, lesion: 'none' });
  const decoded = { rows: SIZE, columns: SIZE, bitsAllocated: 8, bitsStored: 8 } as const;
  // Two images of every patient.
  return {
    id: `${seed}`,
    patient: `${seed >> 1}`,
    decoded: { ...decoded, samples: Uint8Array.from(samples, (value) => value >> 4) },
  };
}

describe('validation on normals and synthetic lesions', function () {
  this.timeout(60_000);
  const checkpointDirectory = mkdtempSync(join(tmpdir(), 'salad-validation-'));
  const sets = validationSets(
    Array.from({ length: 80 }, (_, seed) => normal(seed)),
    { share: 0.3, fitLimit: 24, heldOutLimit: 10, seed: 1 },
  );
  const recipe = gaborSettings({ workingSize: SIZE, align: false });
  const patches = gaborPlan(recipe);
  const whole = gaborPlan({
    ...recipe,
    window: SIZE / recipe.cell,
    scoring: { ...recipe.scoring, aggregate: { topFraction: 1, margin: 0 } },
  });
  let engine: Engine;
  before(async () => {
    engine = await createEngine('onnx');
  });
  after(async () => {
    await engine.dispose();
    rmSync(checkpointDirectory, { recursive: true });
  });
  const options = () => ({ engine, seed: 1, checkpointDirectory });

  it('holds out patients, not single images', () => {
    assert.deepEqual([sets.fit.length, sets.heldOut.length], [24, 10]);
    const fittedPatients = new Set(sets.fit.map(({ patient }) => patient));
    assert.ok(sets.heldOut.every(({ patient }) => !fittedPatients.has(patient)));
  });

  it('separates lesions from the same images without, and gives an ensemble of equal plans the figures of the plan', async () => {
    const alone = await validatePlans([patches], sets, options());
    assert.ok(alone.syn > 0.6, JSON.stringify(alone));
    const mean = SYNTHETIC_LESIONS.reduce((sum, kind) => sum + alone.lesions[kind], 0) / 4;
    assert.ok(Math.abs(alone.syn - mean) < 1e-12);
    const twice = await validatePlans([patches, patches], sets, options());
    assert.deepEqual([twice.lesions, twice.syn], [alone.lesions, alone.syn]);
    assert.equal(twice.bankRows, 2 * alone.bankRows);
  });

  it('scores an image with the mean of the plans', async () => {
    const alone = [
      await validatePlans([patches], sets, options()),
      await validatePlans([whole], sets, options()),
    ];
    const both = await validatePlans([patches, whole], sets, options());
    const [low, high] = alone.map(({ syn }) => syn).sort((a, b) => a - b) as [number, number];
    assert.ok(low < both.syn && both.syn < high, JSON.stringify([...alone, both]));
    for (const { noise } of alone) assert.notEqual(both.noise.auroc, noise.auroc);
    assert.deepEqual(both.flagged, { '0.05': null, '0.10': null });
  });
});
