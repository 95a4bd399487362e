import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'mocha';
import { root } from '../../support/root.js';

describe('scripts/container/notices.mjs', () => {
  let notices: string;
  before(() => {
    const script = join(root, 'scripts/container/notices.mjs');
    const options = { encoding: 'utf8', maxBuffer: 1e8 } as const;
    notices = execFileSync(process.execPath, [script, join(root, 'node_modules')], options);
  });

  it('lists every direct dependency with its version', () => {
    const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    for (const name of Object.keys(dependencies)) {
      const manifest = readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8');
      const { version } = JSON.parse(manifest) as { version: string };
      assert.ok(notices.includes(`\n${name} ${version} (`), name);
    }
  });

  it('prints the text of each licence once, and for libvips the LGPL and the address of its sources', () => {
    const license = readFileSync(join(root, 'node_modules/zod/LICENSE'), 'utf8').trim();
    assert.equal(notices.split(license).length, 2);
    assert.match(notices, /@img\/sharp-libvips-\S+ \S+ \(LGPL-3\.0-or-later\)/);
    assert.match(notices, /\| libvips +\| LGPLv3/);
    assert.match(notices, /The sources of version \d+\.\d+\.\d+/);
    assert.match(notices, /GNU LESSER GENERAL PUBLIC LICENSE\s+Version 3/);
  });
});
