import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { createEngine, skipReason } from '../../../../src/engines/selection/select.js';
import { type AdapterInfo, isSoftwareAdapter } from '../../../../src/engines/tfjs/webgpu/dawn.js';

function adapter(info: Partial<AdapterInfo>): AdapterInfo {
  return { vendor: '', architecture: '', device: '', description: '', ...info };
}

describe('engine webgpu', () => {
  it('knows an adapter that computes on the processor by its flag or its name', () => {
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

  it('starts on an adapter or says what is missing', async () => {
    try {
      const engine = await createEngine('webgpu');
      assert.ok(engine.info.device.length > 0);
      assert.equal(engine.info.maxWorkers, 1);
      await engine.dispose();
    } catch (error) {
      assert.equal(Reflect.get(Object(error), 'reason'), 'ENGINE_UNAVAILABLE', String(error));
      assert.match(String(error), /no Vulkan loader|no adapter|do(es)? not load|gives no device/);
    }
  });
});
