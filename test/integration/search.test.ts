import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { type ModelsFolder, scoreOnce, smallModels } from '../support/small-server.js';

/** Fewer than the 40 rows of the small bank: an index has to serve them. */
const FORCED = { exactSearchRowsMax: 10, workers: 2 };

describe('bank search through the port', () => {
  let models: ModelsFolder;
  let indexes: string;
  before(async () => {
    models = await smallModels();
    indexes = await mkdtemp(join(tmpdir(), 'salad-index-test-'));
  });
  after(async () => {
    await models.remove();
    await rm(indexes, { recursive: true, force: true });
  });

  const score = (flags: Readonly<Record<string, unknown>>) => scoreOnce(models.path, flags);

  it('names the index in the aggregate and gives nearly all the scores of exact search', async () => {
    const exact = await score({});
    const indexed = await score({ ...FORCED, searchIndexFolder: indexes });
    assert.equal(exact.aggregate.search, 'exact');
    assert.match(indexed.aggregate.search, /^index \(usearch, recall (0\.99\d|1\.000)\)$/);
    assert.equal(indexed.scores.size, 64);
    // Batches are put together differently: embeddings differ in the last bit. An index may miss a row.
    const differences = [...exact.scores].map(([place, value]) => indexed.scores.get(place)! - value);
    assert.ok(differences.every((difference) => difference > -1e-6));
    assert.ok(differences.filter((difference) => difference < 1e-6).length >= 58, `${differences}`);
  });

  it('keeps the index of a bank for the next start, and one only for all workers', async () => {
    const files = async () => (await readdir(indexes)).filter((file) => !file.startsWith('.')).sort();
    await score({ ...FORCED, searchIndexFolder: indexes });
    const kept = await files();
    assert.deepEqual(
      kept.map((file) => file.replace(/^[0-9a-f]+/, '')),
      ['.0.usearch', '.json'],
    );
    await score({ ...FORCED, searchIndexFolder: indexes });
    assert.deepEqual(await files(), kept);
  });
});
