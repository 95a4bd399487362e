import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { BankCandidates, buildBank } from '../../../../src/training/fit/bank-builder.js';
import { createRandom } from '../../../../src/util/random.js';

const OPTIONS = { bankRows: 1000, coreset: 'random', outlierFraction: 0, seed: 1 } as const;

/** Candidates of one cell: unit vectors at these angles in degrees, each of its own image. */
function atAngles(angles: readonly number[]): BankCandidates {
  const candidates = new BankCandidates(2, 1);
  angles.forEach((angle, source) => {
    const radians = (angle * Math.PI) / 180;
    candidates.add(Float32Array.of(Math.cos(radians), Math.sin(radians)), Uint8Array.of(1), source);
  });
  return candidates;
}

function patientsOf(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `p${index}`);
}

/** Candidates of a 2x2 grid: `images` random rows per cell. */
function randomGrid(images: number): BankCandidates {
  const random = createRandom(5);
  const candidates = new BankCandidates(3, 2);
  for (let source = 0; source < images; source += 1) {
    candidates.add(Float32Array.from({ length: 12 }, random), Uint8Array.of(1, 1, 1, 1), source);
  }
  return candidates;
}

describe('bank builder', () => {
  it('keeps every scored patch with its position and source where the limit allows it', async () => {
    const candidates = new BankCandidates(1, 2);
    candidates.add(Float32Array.of(1, 2, 3, 4), Uint8Array.of(1, 0, 1, 1), 0);
    const { bank, candidates: count } = await buildBank(candidates, ['p'], OPTIONS);
    assert.equal(count, 3);
    assert.deepEqual([...bank.prototypes], [1, 3, 4]);
    assert.deepEqual([...bank.positions], [0, 0, 1, 0, 1, 1]);
    assert.deepEqual([...bank.sources], [0, 0, 0]);
  });

  it('drops duplicate rows of a cell', async () => {
    const built = await buildBank(atAngles([0, 10, 0, 20]), patientsOf(4), OPTIONS);
    assert.equal(built.duplicates, 1);
    assert.deepEqual([...built.bank.sources], [0, 1, 3]);
  });

  it('drops the row least similar to those of other patients', async () => {
    const built = await buildBank(atAngles([0, 5, 10, 15, 90]), patientsOf(5), {
      ...OPTIONS,
      outlierFraction: 0.2,
    });
    assert.equal(built.outliers, 1);
    assert.ok(![...built.bank.sources].includes(4));
  });

  it('ignores rows of the same patient in the outlier test', async () => {
    const patients = ['a', 'b', 'c', 'd', 'odd', 'odd'];
    const built = await buildBank(atAngles([0, 5, 10, 15, 90, 91]), patients, {
      ...OPTIONS,
      outlierFraction: 0.34,
    });
    assert.deepEqual([...built.bank.sources], [0, 1, 2, 3]);
  });

  it('thins every cell equally to the limit, depending only on the seed', async () => {
    const options = { ...OPTIONS, bankRows: 40 };
    const { bank } = await buildBank(randomGrid(50), patientsOf(50), options);
    assert.equal(bank.rows, 40);
    for (let cell = 0; cell < 4; cell += 1) {
      const inCell = Array.from(
        { length: 40 },
        (_, row) => bank.positions[2 * row]! * 2 + bank.positions[2 * row + 1]!,
      );
      assert.equal(inCell.filter((each) => each === cell).length, 10);
    }
    assert.deepEqual((await buildBank(randomGrid(50), patientsOf(50), options)).bank, bank);
    const other = await buildBank(randomGrid(50), patientsOf(50), { ...options, seed: 2 });
    assert.notDeepEqual(other.bank, bank);
  });

  it('selects rows by k-center where requested', async () => {
    const built = await buildBank(atAngles([0, 1, 2, 3, 45, 90]), patientsOf(6), {
      ...OPTIONS,
      bankRows: 3,
      coreset: 'kCenter',
    });
    assert.deepEqual([...built.bank.sources], [0, 4, 5]);
  });
});
