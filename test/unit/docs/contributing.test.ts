import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { CONFIG_FIELDS } from '../../../src/config/schema.js';
import { ENGINE_NAMES } from '../../../src/engines/engine.js';
import { TRAINING_PRESETS } from '../../../src/training/fit/preset-registry.js';
import { readPage } from '../../support/docs.js';
import { root } from '../../support/root.js';

/** Files that CONTRIBUTING names for a task and that must mention what was added. */
function filesFor(task: string, pattern: RegExp): string[] {
  const row = readPage('CONTRIBUTING.md')
    .text.split('\n')
    .find((line) => line.startsWith(`| ${task} |`));
  assert.ok(row !== undefined, `CONTRIBUTING has no row "${task}"`);
  return [...row.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '').filter((name) => pattern.test(name));
}

/** Settings that follow from other values of the chart, so that its `config` does not take them. */
const CHART_SETS: ReadonlySet<string> = new Set([
  'listen',
  'models',
  'engine',
  'searchIndexFolder',
  'drainGraceMs',
  'metricsListen',
  'tlsCertFile',
  'tlsKeyFile',
  'tlsClientCaFile',
  'allowPlaintext',
  'healthListen',
  'authApiKeysFile',
]);

const read = (file: string) => readFileSync(join(root, file), 'utf8');

describe('CONTRIBUTING', () => {
  it('names the files that contain every setting', () => {
    const files = filesFor('a setting', /\.(md|json)$/);
    assert.equal(files.length, 2);
    for (const key of Object.keys(CONFIG_FIELDS)) {
      const expected = CHART_SETS.has(key) ? ['docs/reference/config.md'] : files;
      assert.deepEqual(
        expected.filter((file) => !read(file).includes(key)),
        [],
        key,
      );
    }
  });

  it('names the page that lists every preset', () => {
    const [page = ''] = filesFor('a training preset', /\.md$/);
    for (const { name } of TRAINING_PRESETS) assert.ok(read(page).includes(`\`${name}\``), name);
  });

  it('names a page that contains all engines', () => {
    for (const name of ENGINE_NAMES)
      assert.ok(read('docs/explanation/engines.md').includes(`\`${name}\``), name);
  });
});
