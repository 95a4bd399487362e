import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, it } from 'mocha';

const root = resolve(import.meta.dirname, '../../..');

describe('docs/explanation/security-model.md', () => {
  const page = readFileSync(join(root, 'docs/explanation/security-model.md'), 'utf8');
  const threats = page
    .slice(page.indexOf('## Threats'), page.indexOf('## Not covered'))
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.includes('| threat |'));

  it('names an existing test for every threat, by its file and words of its title', () => {
    assert.ok(threats.length >= 15, `${threats.length} threats`);
    for (const threat of threats) {
      const shown = threat.split(' | ').at(-1) ?? '';
      const named = [...shown.matchAll(/`(test\/[^`]+)`(?:: ([^`|]+?))?(?=; `|\s*\|?$)/g)];
      assert.ok(named.length > 0 || shown.includes('npm run all'), `no test is named: ${threat}`);
      for (const [, file = '', titles = ''] of named) {
        const text = readFileSync(join(root, file), 'utf8');
        for (const title of titles.split('; ').filter((words) => words !== '')) {
          assert.ok(text.includes(title), `${file} has no test "${title}"`);
        }
      }
    }
  });
});
