import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../../src/util/package-root.js';

/** A package with an advisory and a package that only depends on it, as `npm audit --json` prints them. */
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

  function audit(content: unknown): { status: number | null; stdout: string } {
    const file = join(scratch, 'audit.json');
    writeFileSync(file, JSON.stringify(content));
    const script = join(packageRoot(), 'scripts/supply/audit.mjs');
    const { status, stdout } = spawnSync(process.execPath, [script, '--report', file], { encoding: 'utf8' });
    return { status, stdout };
  }

  for (const severity of ['high', 'critical']) {
    it(`fails the build for an advisory of severity ${severity} and counts it once`, () => {
      const { status, stdout } = audit(report(severity));
      assert.match(stdout, /audit: 1 advisories, 1 of them fail the build/);
      assert.equal(status, 1);
    });
  }

  it('only prints an advisory of lower severity', () => {
    const { status, stdout } = audit(report('moderate'));
    assert.match(stdout, /moderate leaf <2\.0\.0: reads too far/);
    assert.equal(status, 0);
  });

  it('prints that nothing was audited if the registry offers no advisories', () => {
    const { status, stdout } = audit({ message: '405 Method Not Allowed' });
    assert.match(stdout, /NOT AUDITED.*405/);
    assert.equal(status, 0);
  });
});
