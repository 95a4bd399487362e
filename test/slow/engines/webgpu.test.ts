import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, it } from 'mocha';
import { createEngine } from '../../../src/engines/selection/select.js';

const root = resolve(import.meta.dirname, '../../..');
const swiftshader = join(root, '.cache/swiftshader');
const suite = join(import.meta.dirname, 'swiftshader-suite.ts');

if (existsSync(join(swiftshader, 'icd.json'))) {
  describe('engine webgpu', function () {
    this.timeout(600_000);

    // The dynamic linker and the Vulkan loader read these when a process starts, hence one of its own.
    it('passes the engine suite on SwiftShader', () => {
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
} else {
  describe('engine webgpu where there is no software adapter', () => {
    it('starts on a GPU or says what is missing; npm run engines:swiftshader brings an adapter', async () => {
      try {
        const engine = await createEngine('webgpu');
        assert.ok(engine.info.device.length > 0);
        await engine.dispose();
      } catch (error) {
        assert.match(String(error), /ENGINE_UNAVAILABLE|Vulkan|adapter|do(es)? not load/);
      }
    });
  });
}
