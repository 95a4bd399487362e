import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, beforeEach, describe, it } from 'mocha';
import { writeBundle } from '../../../src/bundle/bundle.js';
import { type Finding, findBundle, openBundles } from '../../../src/bundle/repository.js';
import { smallDraft } from '../../reference/small-model.js';

const draft = smallDraft(31);

describe('a models folder', () => {
  let root: string;
  let models: string;
  const at = (...path: string[]) => join(models, ...path);
  const write = (version: number, folder = at('small', String(version))) =>
    writeBundle(folder, { ...draft, manifest: { ...draft.manifest, version } });

  async function findings(): Promise<Finding[]> {
    const found: Finding[] = [];
    for await (const finding of openBundles(models)) found.push(finding);
    return found;
  }

  /** What is served, refused and ignored, by folder. */
  async function summary() {
    const lines: Record<string, string> = {};
    for (const finding of await findings()) {
      if (finding.kind === 'bundle') lines[relative(models, finding.bundle.directory)] = finding.model;
      else if (finding.kind === 'refused') lines[relative(models, finding.directory)] = finding.error.message;
      else lines[relative(models, finding.directory)] = `ignored: ${finding.reason}`;
    }
    return lines;
  }

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'salad-repository-'));
  });
  beforeEach(async () => {
    models = await mkdtemp(join(root, 'models-'));
    await write(1);
  });
  after(() => rm(root, { recursive: true, force: true }));

  it('serves the bundles in NAME/VERSION, sorted by name and then by number', async () => {
    for (const version of [10, 2]) await write(version);
    await writeBundle(at('a-small', '3'), {
      ...draft,
      manifest: { ...draft.manifest, name: 'a-small', version: 3 },
    });
    const found = (await findings()).map((finding) => finding.kind === 'bundle' && finding.model);
    assert.deepEqual(found, ['a-small@3', 'small@1', 'small@2', 'small@10']);
  });

  for (const copy of ['1.bak', '01', '1.old', '.1-x7Yz3q', '.1-x7Yz3q.old', '1~', 'latest', '4294967296']) {
    it(`ignores the copy ${copy} of a version`, async () => {
      await cp(at('small', '1'), at('small', copy), { recursive: true });
      const lines = await summary();
      assert.equal(lines['small/1'], 'small@1');
      assert.match(lines[`small/${copy}`] ?? '', /^ignored: its name is (not a version|hidden)/);
      assert.equal(Object.keys(lines).length, 2);
    });
  }

  it('refuses a copied version and a renamed folder, and names both models', async () => {
    await cp(at('small', '1'), at('small', '2'), { recursive: true });
    await write(3);
    await rename(at('small', '3'), at('small', '4'));
    await cp(at('small'), at('other'), { recursive: true });
    const lines = await summary();
    assert.equal(lines['small/1'], 'small@1');
    assert.match(lines['small/2'] ?? '', /small\/2 holds small@1 and not small@2/);
    assert.match(lines['small/4'] ?? '', /small\/4 holds small@3 and not small@4/);
    assert.match(lines['other/1'] ?? '', /other\/1 holds small@1 and not other@1/);
    assert.equal(Object.values(lines).filter((line) => line === 'small@1').length, 1);
  });

  it('serves linked NAME and VERSION folders as real ones', async () => {
    await rename(models, join(root, 'checkout'));
    await mkdir(models);
    await symlink(join(root, 'checkout', 'small'), at('small'));
    assert.deepEqual(await summary(), { 'small/1': 'small@1' });
    await rm(at('small'));
    await mkdir(at('small'));
    await symlink(join(root, 'checkout', 'small', '1'), at('small', '1'));
    assert.deepEqual(await summary(), { 'small/1': 'small@1' });
    await rm(join(root, 'checkout'), { recursive: true });
  });

  it('serves a Kubernetes volume, whose folders are links into ..data', async () => {
    await mkdir(at('..2026_01_01'));
    await rename(at('small'), at('..2026_01_01', 'small'));
    await symlink('..2026_01_01', at('..data'));
    await symlink(join('..data', 'small'), at('small'));
    assert.deepEqual(await summary(), { 'small/1': 'small@1' });
  });

  it('refuses a link to another model, to a missing folder and to itself', async () => {
    await symlink('small', at('alias'));
    await symlink('1', at('small', '2'));
    await symlink('nowhere', at('small', '3'));
    await symlink('4', at('small', '4'));
    await symlink('nowhere', at('gone'));
    await symlink('1', at('small', 'latest'));
    const lines = await summary();
    assert.equal(lines['small/1'], 'small@1');
    assert.match(lines['alias/1'] ?? '', /holds small@1 and not alias@1/);
    assert.match(lines['small/2'] ?? '', /holds small@1 and not small@2/);
    assert.match(lines['small/3'] ?? '', /small\/3 cannot be read: no such file or directory/);
    assert.match(lines['small/4'] ?? '', /small\/4 cannot be read: too many symbolic links/);
    assert.match(lines['gone'] ?? '', /gone cannot be read: no such file or directory/);
    assert.match(lines['small/latest'] ?? '', /^ignored: its name is not a version/);
  });

  it('ignores files and lost+found, and reports a bundle that is one folder too high', async () => {
    await writeFile(at('README.md'), 'of the models');
    await writeFile(at('small', 'notes.txt'), 'of the model');
    await mkdir(at('lost+found'));
    await cp(at('small', '1'), at('flat'), { recursive: true });
    const lines = await summary();
    assert.deepEqual(Object.keys(lines).sort(), ['flat', 'lost+found', 'small/1']);
    assert.match(lines['lost+found'] ?? '', /^ignored: its name is not that of a model/);
    assert.match(lines['flat'] ?? '', /^ignored: it contains manifest.json/);
  });

  it('refuses an empty version and one that is broken, and serves the others', async () => {
    await mkdir(at('small', '2'));
    await write(3);
    await writeFile(at('small', '3', 'weights.safetensors'), 'broken');
    const lines = await summary();
    assert.equal(lines['small/1'], 'small@1');
    assert.match(lines['small/2'] ?? '', /small\/2\/manifest.json cannot be read/);
    assert.match(lines['small/3'] ?? '', /weights.safetensors has 6 bytes/);
  });

  it('is a configuration error where it cannot be read', async () => {
    models = join(root, 'nowhere');
    await assert.rejects(findings(), { reason: 'CONFIGURATION_INVALID' });
    await assert.rejects(findBundle(models, 'small'), { reason: 'CONFIGURATION_INVALID' });
  });

  describe('is searched', () => {
    it('by name, by name and version, and by folder', async () => {
      await write(10);
      assert.equal(await findBundle(models, 'small'), at('small', '10'));
      assert.equal(await findBundle(models, 'small@1'), at('small', '1'));
      assert.equal(await findBundle(models, at('small', '1')), at('small', '1'));
      await assert.rejects(findBundle(models, 'small@2'), {
        reason: 'MODEL_NOT_FOUND',
        message: /there is small@1, small@10/,
      });
    });

    it('for the bundles that a server would serve, without copies', async () => {
      await cp(at('small', '1'), at('small', '2'), { recursive: true });
      await cp(at('small', '1'), at('small', '3.bak'), { recursive: true });
      assert.equal(await findBundle(models, 'small'), at('small', '1'));
      await assert.rejects(findBundle(models, 'small@2'), {
        reason: 'BUNDLE_INVALID',
        message: /holds small@1 and not small@2/,
      });
    });
  });
});
