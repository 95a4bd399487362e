import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../../src/util/package-root.js';

/** A package that an advisory was written for, and one that only depends on it, as `npm audit --json` tells. */
const report = (severity: string) => ({
  vulnerabilities: {
    leaf: {
      via: [
        {
          name: 'leaf',
          severity,
          range: '<2.0.0',
          title: 'reads too far',
          url: 'https://example.org/GHSA-1',
        },
      ],
    },
    trunk: { via: ['leaf'] },
  },
});

describe('scripts/supply/audit.mjs', () => {
  let scratch: string;
  before(() => (scratch = mkdtempSync(join(tmpdir(), 'salad-audit-'))));
  after(() => rmSync(scratch, { recursive: true }));

  function judge(content: unknown): { status: number | null; stdout: string } {
    const file = join(scratch, 'audit.json');
    writeFileSync(file, JSON.stringify(content));
    const script = join(packageRoot(), 'scripts/supply/audit.mjs');
    const { status, stdout } = spawnSync(process.execPath, [script, '--report', file], { encoding: 'utf8' });
    return { status, stdout };
  }

  for (const severity of ['high', 'critical']) {
    it(`fails the build for ${severity}, counting an advisory once`, () => {
      const { status, stdout } = judge(report(severity));
      assert.match(stdout, /audit: 1 advisories, 1 of them fail the build/);
      assert.equal(status, 1);
    });
  }

  it('only prints what is less', () => {
    const { status, stdout } = judge(report('moderate'));
    assert.match(stdout, /moderate leaf <2\.0\.0: reads too far/);
    assert.equal(status, 0);
  });

  it('says that nothing was audited where the registry gives no advisories', () => {
    const { status, stdout } = judge({ message: '405 Method Not Allowed' });
    assert.match(stdout, /NOT AUDITED.*405/);
    assert.equal(status, 0);
  });
});
