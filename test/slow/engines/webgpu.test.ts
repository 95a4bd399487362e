import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, it } from 'mocha';

const root = resolve(import.meta.dirname, '../../..');
const swiftshader = join(root, '.cache/swiftshader');
const suite = join(import.meta.dirname, 'swiftshader-suite.ts');

describe('engine webgpu', function () {
  this.timeout(600_000);

  // In a process of its own: the dynamic linker and the Vulkan loader read the variables when a process starts.
  it('passes the engine suite on SwiftShader', function () {
    if (!existsSync(join(swiftshader, 'icd.json'))) {
      assert.ok(process.env['CI'] === undefined, 'CI installs SwiftShader');
      console.log('    skipped: needs `npm run engines:swiftshader`');
      this.skip();
    }
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(root, 'node_modules/mocha/bin/mocha.js'), '--reporter', 'spec', suite],
      {
        cwd: root,
        encoding: 'utf8',
        env: {
          ...process.env,
          VK_ICD_FILENAMES: join(swiftshader, 'icd.json'),
          VK_LOADER_LAYERS_DISABLE: '*',
          LD_LIBRARY_PATH: swiftshader,
          XDG_RUNTIME_DIR: join(swiftshader, 'run'),
        },
      },
    );
    assert.equal(status, 0, `${stdout}\n${stderr}`);
    assert.match(stdout, /engine webgpu when its device fails/);
  });
});
