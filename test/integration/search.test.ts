import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { type ModelsFolder, scoreOnce, smallModels } from '../support/servers/small-server.js';

/** Below the 40 rows of the small bank, so that an index is used. */
const WITH_INDEX = { exactSearchRowsMax: 10, workers: 2 };

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

  it('names the index in the aggregate and finds nearly all scores of exact search', async () => {
    const exact = await score({});
    const indexed = await score({ ...WITH_INDEX, searchIndexFolder: indexes });
    assert.equal(exact.aggregate.search, 'exact');
    assert.match(indexed.aggregate.search, /^index \(usearch, recall (0\.99\d|1\.000)\)$/);
    assert.equal(indexed.scores.size, 64);
    // Other batches may change the last bit of an embedding, and an index may miss a row.
    const differences = [...exact.scores].map(([place, value]) => indexed.scores.get(place)! - value);
    assert.ok(differences.every((difference) => difference > -1e-6));
    assert.ok(differences.filter((difference) => difference < 1e-6).length >= 58, `${differences}`);
  });

  it('stores one index of a bank for all workers and uses it at the next start', async () => {
    const files = async () => (await readdir(indexes)).filter((file) => !file.startsWith('.')).sort();
    await score({ ...WITH_INDEX, searchIndexFolder: indexes });
    const stored = await files();
    assert.deepEqual(
      stored.map((file) => file.replace(/^[0-9a-f]+/, '')),
      ['.0.usearch', '.json'],
    );
    await score({ ...WITH_INDEX, searchIndexFolder: indexes });
    assert.deepEqual(await files(), stored);
  });
});
