import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { conformalPValue } from '../../../src/scoring/calibration.js';
import { DRIFT_ALARM, ScoreDrift } from '../../../src/telemetry/score-drift.js';
import { createRandom } from '../../../src/util/random.js';

const CALIBRATION = 400;

/** Normal deviates; a stream of scores, judged among its own calibration scores. */
function scores(seed: number) {
  const random = createRandom(seed);
  const next = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const calibration = Array.from({ length: CALIBRATION }, next).sort((a, b) => a - b);
  const drift = new ScoreDrift(CALIBRATION);
  return {
    drift,
    /** Adds images whose scores are shifted by some standard deviations. @returns index of the first alarm, or -1 */
    add(count: number, shift: number): number {
      let first = -1;
      for (let image = 0; image < count; image++) {
        const alarm = drift.add(conformalPValue(calibration, next() + shift));
        if (alarm && first < 0) first = image;
      }
      return first;
    },
  };
}

describe('ScoreDrift', () => {
  it("has far less than one false alarm in 10,000 images of the calibration's distribution", () => {
    const alarms = Array.from({ length: 100 }, (_, seed) => scores(seed + 1).add(2000, 0));
    // 200,000 images: the bound is 20 alarms.
    assert.ok(alarms.filter((first) => first >= 0).length <= 4, alarms.join(' '));
  });

  it('notices images that score higher, or lower, within a few hundred', () => {
    for (const [shift, most] of [
      [1, 100],
      [-1, 100],
      [0.5, 400],
    ] as const) {
      const delays = Array.from({ length: 20 }, (_, seed) => {
        const stream = scores(seed + 500);
        assert.equal(stream.add(100, 0), -1);
        return stream.add(1500, shift);
      });
      assert.ok(
        delays.every((delay) => delay >= 0),
        `${shift}: ${delays.join(' ')}`,
      );
      const median = delays.sort((a, b) => a - b)[10]!;
      assert.ok(median <= most, `${shift}: ${median}`);
    }
  });

  it('keeps the alarm while the images stay as they are, ends it when they are normal again, and can begin anew', () => {
    const { drift, add } = scores(7);
    add(200, 0);
    assert.ok(add(300, 1.5) >= 0);
    add(2000, 1.5);
    assert.ok(drift.evidence >= DRIFT_ALARM);
    add(400, 0);
    assert.ok(drift.evidence < DRIFT_ALARM, `${drift.evidence}`);
    assert.ok(add(300, 1.5) >= 0);
  });

  it('detects p-values that are all equal', () => {
    for (const value of [1 / 61, 30 / 61, 1]) {
      const drift = new ScoreDrift(60);
      let alarms = 0;
      for (let image = 0; image < 500; image++) if (drift.add(value)) alarms++;
      // A value in the middle is not unusual for any one image, and the bets are on small and large ones.
      assert.equal(alarms, value === 30 / 61 ? 0 : 1, `${value}`);
    }
  });

  it('has no evidence before the first image', () => {
    assert.equal(new ScoreDrift(99).evidence, 0);
  });
});
