import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { root } from '../support/root.js';

describe('npm run salad', function () {
  this.timeout(120_000);

  it('resolves paths relative to the folder of the caller', () => {
    const folder = mkdtempSync(join(tmpdir(), 'salad-caller-'));
    try {
      const args = ['--prefix', root, 'run', '-s', 'salad', '--', 'phantom', '--count', '1', '--size', '64'];
      const stdout = execFileSync('npm', [...args, '--out', 'here'], { cwd: folder, encoding: 'utf8' });
      assert.equal(stdout.trim(), join('here', 'normal', 'phantom-000001.png'));
      assert.ok(existsSync(join(folder, stdout.trim())));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
