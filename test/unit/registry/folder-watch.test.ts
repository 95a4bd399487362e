import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { ServedModel } from '../../../src/acquisition/index.js';
import { readBundle, writeBundle } from '../../../src/bundle/bundle.js';
import { parseVersionPolicy } from '../../../src/config/sections/version-policy.js';
import { SaladError } from '../../../src/errors/index.js';
import { FolderWatch } from '../../../src/registry/folder-watch.js';
import { VersionTable } from '../../../src/registry/version-table.js';
import { smallDraft } from '../../reference/small-model.js';
import { CapturedLog } from '../../support/measurements/captured-log.js';

const draft = smallDraft(31);

/** Looks are made one by one; bundles are read and checked, but loaded into no engine. */
describe('FolderWatch', () => {
  let root: string;
  let log: CapturedLog;
  let table: VersionTable;
  let watch: FolderWatch;
  /** Versions that fail for another reason than their content. */
  let failing: Set<number>;
  const folder = (version: number) => join(root, 'models', 'small', String(version));
  const write = (version: number, directory = folder(version)) =>
    writeBundle(directory, { ...draft, manifest: { ...draft.manifest, version } });
  const states = () => table.versions.map(({ key, state }) => `${key} ${state}`);
  const errors = () => log.lines.filter(({ level }) => level >= 50).length;

  const watchWith = (policy: string) => {
    table = new VersionTable((key) => table.delete(key));
    watch = new FolderWatch({
      directories: [join(root, 'models')],
      policy: parseVersionPolicy(policy)!,
      intervalMs: 0,
      table,
      logger: log.logger,
      loader: {
        async load(candidate) {
          try {
            const { sha256, manifest, geometry } = await readBundle(candidate.directory, candidate);
            if (failing.has(candidate.version)) throw new SaladError('ENGINE_FAILED', 'no engine serves now');
            const { name, version } = manifest;
            const key = `${name}@${version}`;
            const served = { key, name, version, sha256, manifest, geometry } as ServedModel;
            table.setServing(served);
            return served;
          } catch (error) {
            table.setRefused(candidate, SaladError.from(error).message);
            throw error;
          }
        },
        unload: (key) => table.setUnloading(key),
      },
    });
  };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'salad-folder-watch-'));
    log = new CapturedLog();
    failing = new Set();
    await write(1);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('reports a version as refused only where its files did not change between two polls, and once', async () => {
    watchWith('all');
    const source = await write(2, join(root, 'source'));
    await mkdir(folder(2));
    for (const file of await readdir(source.directory)) {
      await watch.poll();
      assert.deepEqual([states(), errors()], [['small@1 serving', 'small@2 refused'], 0]);
      await cp(join(source.directory, file), join(folder(2), file));
    }
    await watch.poll();
    assert.deepEqual([states(), errors()], [['small@1 serving', 'small@2 serving'], 0]);
    await mkdir(folder(3));
    for (const expected of [0, 1, 1, 1]) {
      await watch.poll();
      assert.equal(errors(), expected);
    }
    await rm(folder(3), { recursive: true });
    await write(3);
    await watch.poll();
    assert.deepEqual(states(), ['small@1 serving', 'small@2 serving', 'small@3 serving']);
  });

  it('tries a version again at every poll where something else than its content failed', async () => {
    watchWith('all');
    await write(2);
    failing.add(2);
    for (let poll = 0; poll < 4; poll++) await watch.poll();
    assert.deepEqual([states(), errors()], [['small@1 serving', 'small@2 refused'], 0]);
    failing.clear();
    await watch.poll();
    assert.deepEqual(states(), ['small@1 serving', 'small@2 serving']);
  });

  it('counts only valid versions for latest:N, and keeps the old one until the new one serves', async () => {
    watchWith('latest:1');
    await mkdir(folder(3));
    await watch.poll();
    assert.deepEqual(states(), ['small@1 serving', 'small@3 refused']);
    await write(2);
    await watch.poll();
    assert.deepEqual(states(), ['small@2 serving', 'small@3 refused']);
    // Back to the version before.
    await rm(folder(2), { recursive: true });
    await watch.poll();
    await watch.poll();
    assert.deepEqual(states(), ['small@1 serving', 'small@3 refused']);
  });

  it('unloads a version that is missing in two polls, not one that a replacement hides for one poll', async () => {
    watchWith('all');
    await write(2);
    await watch.poll();
    await rename(folder(2), join(root, 'hidden'));
    await watch.poll();
    await rename(join(root, 'hidden'), folder(2));
    await watch.poll();
    assert.deepEqual(states(), ['small@1 serving', 'small@2 serving']);
    await rm(folder(2), { recursive: true });
    await watch.poll();
    await watch.poll();
    assert.deepEqual(states(), ['small@1 serving']);
  });
});
