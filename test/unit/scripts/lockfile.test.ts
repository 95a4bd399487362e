import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { root } from '../../support/root.js';

interface Entry {
  version?: string;
  integrity?: string;
  hasInstallScript?: boolean;
  gypfile?: boolean;
}
interface Lock {
  packages: Record<string, Entry>;
}
interface Rules {
  lockFaults(lock: Lock, hasBinding: (path: string) => boolean): string[];
  denyScripts(lock: Lock, hasBinding: (path: string) => boolean): void;
}

const { lockFaults, denyScripts } = (await import(join(root, 'scripts/supply/lockfile.mjs'))) as Rules;
const text = readFileSync(join(root, 'package-lock.json'), 'utf8');
const hasBinding = (path: string) => existsSync(join(root, path, 'binding.gyp'));

describe('package-lock.json', () => {
  it('has the hash of every package and disables install scripts, with any version of npm', () => {
    const lock = JSON.parse(text) as Lock;
    assert.ok(Object.keys(lock.packages).length > 300);
    assert.deepEqual(lockFaults(lock, hasBinding), []);
  });

  it('contains no package that only the optional TensorFlow binding needs', () => {
    const paths = Object.keys((JSON.parse(text) as Lock).packages);
    assert.deepEqual(
      paths.filter((path) => /\/(tar|@mapbox\/node-pre-gyp|@tensorflow\/tfjs-node-gpu)$/.test(path)),
      [],
    );
  });

  it('is refused without a hash, and if npm would run a script or compile', () => {
    const lock: Lock = {
      packages: {
        '': {},
        'node_modules/a': { integrity: 'sha512-a', hasInstallScript: true },
        'node_modules/b': { version: '1.0.0' },
        'node_modules/c': { integrity: 'sha512-c' },
      },
    };
    const compiled = (path: string) => path.endsWith('/c');
    assert.deepEqual(
      lockFaults(lock, compiled).map((fault) => fault.split(' ').slice(0, 3).join(' ')),
      ['node_modules/a has hasInstallScript:', 'node_modules/b has no', 'node_modules/c lacks "gypfile":'],
    );
    denyScripts(lock, compiled);
    assert.deepEqual(lockFaults(lock, compiled), ['node_modules/b has no integrity']);
  });
});
