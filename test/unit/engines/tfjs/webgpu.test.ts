import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { skipReason } from '../../../../src/engines/selection/select.js';
import { type AdapterInfo, isSoftwareAdapter } from '../../../../src/engines/tfjs/webgpu/dawn.js';

const root = join(import.meta.dirname, '../../../..');

/** Prints the error of the engine. */
const START_ENGINE = `
  const { createEngine } = await import('./src/engines/selection/select.ts');
  await createEngine('webgpu').catch(({ reason, message }) => console.log(reason, message));
`;

function adapter(info: Partial<AdapterInfo>): AdapterInfo {
  return { vendor: '', architecture: '', device: '', description: '', ...info };
}

describe('engine webgpu', () => {
  it('recognises an adapter that computes on the processor by its flag or its name', () => {
    for (const info of [
      { vendor: 'google', architecture: 'swiftshader', isFallbackAdapter: true },
      { isFallbackAdapter: true },
      { vendor: 'mesa', description: 'llvmpipe (LLVM 15.0.6, 256 bits)' },
      { vendor: 'microsoft', description: 'Microsoft Basic Render Driver' },
    ]) {
      assert.equal(isSoftwareAdapter(adapter(info)), true, JSON.stringify(info));
    }
    for (const info of [
      { vendor: 'nvidia', architecture: 'hopper', isFallbackAdapter: false },
      { vendor: 'intel', architecture: 'gen-12lp', description: 'Intel(R) Iris(R) Xe Graphics' },
      { vendor: 'amd', architecture: 'rdna-3' },
    ]) {
      assert.equal(isSoftwareAdapter(adapter(info)), false, JSON.stringify(info));
    }
  });

  it('serves on a software adapter only where it is chosen by name', () => {
    const software = {
      name: 'webgpu',
      device: 'x',
      hardware: false,
      maxWorkers: 1,
      canUseSessionThreads: false,
    } as const;
    assert.match(skipReason(software, 'auto') ?? '', /no GPU/);
    assert.equal(skipReason(software, 'webgpu'), null);
    assert.equal(skipReason({ ...software, hardware: true }, 'auto'), null);
  });

  it('is unavailable, with the reason, where there is no Vulkan driver', function () {
    if (process.platform !== 'linux') this.skip();
    this.timeout(30_000);
    // The Vulkan loader reads these variables when a process starts.
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', START_ENGINE],
      {
        cwd: root,
        encoding: 'utf8',
        env: { ...process.env, VK_DRIVER_FILES: '/dev/null', VK_ICD_FILENAMES: '/dev/null' },
      },
    );
    assert.match(stdout, /^ENGINE_UNAVAILABLE webgpu: there is no (Vulkan loader|adapter)/, stderr);
  });
});
