import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { runSalad } from '../../../support/programs/in-process-salad.js';

describe('salad config make-key', () => {
  it('makes a key with the given scopes and expiry', async () => {
    const flags = ['--name', 'ops', '--scopes', 'score, admin,score', '--expires', '2099-01-31T00:00:00Z'];
    const { code, lines } = await runSalad('config', 'make-key', ...flags, '--json');
    assert.equal(code, 0);
    const { key, entry } = lines[0] as { key: string; entry: Record<string, unknown> };
    assert.match(key, /^salad_[\w-]{43}$/);
    assert.deepEqual(
      { ...entry, sha256: undefined },
      { name: 'ops', scopes: ['score', 'admin'], expires: '2099-01-31T00:00:00Z', sha256: undefined },
    );
  });

  it('refuses an entry that the server would refuse, with one line and exit code 2', async () => {
    for (const [flags, message] of [
      [['--name', ''], /--name "": write a name/],
      [['--name', 'two\nlines'], /--name "two\\nlines"/],
      [['--name', 'two words'], /--name "two words": write a name of 1 to 64 letters, digits/],
      [['--name', 'a:b'], /--name "a:b"/],
      [['--name', '\u001b[31m'], /--name "\\u001b\[31m"/],
      [['--name', '-x'], /--name "-x"/],
      [['--name', 'x'.repeat(65)], /1 to 64/],
      [['--name', 'x', '--scopes', ''], /--scopes "": use score, admin/],
      [['--name', 'x', '--scopes', 'score,root'], /--scopes "root"/],
      [['--name', 'x', '--expires', '2099-13-45T00:00:00Z'], /--expires .*: write it as/],
      [['--name', 'x', '--expires', 'tomorrow'], /--expires tomorrow: write it as/],
      [['--name', 'x', '--expires', '2020-01-01T00:00:00Z'], /is in the past/],
    ] as const) {
      const { code, stdout, stderr } = await runSalad('config', 'make-key', ...flags);
      assert.equal(code, 2, stderr);
      assert.equal(stdout, '');
      assert.match(stderr, message);
      assert.equal(stderr.trimEnd().split('\n').length, 1);
    }
  });
});
