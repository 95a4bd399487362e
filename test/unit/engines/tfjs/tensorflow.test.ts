import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { after, before, describe, it } from 'mocha';
import { skipReasonBeforeStart } from '../../../../src/engines/selection/select.js';
import { startBinding } from '../../../../src/engines/tfjs/tensorflow/binding.js';
import { tensorflowEnvironment } from '../../../../src/engines/tfjs/tensorflow/environment.js';
import { mayHaveCudaDevice } from '../../../../src/engines/tfjs/tensorflow/gpu.js';

describe("TensorFlow's native binding", () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'salad-tensorflow-'));
    await writeFile(join(directory, 'package.json'), '{"main":"index.js"}');
    await writeFile(join(directory, 'index.js'), 'globalThis.brokenBindingRan = true;');
  });
  after(() => rm(directory, { recursive: true }));

  it('is reported as not installed where no package is there', async () => {
    await assert.rejects(startBinding([]), {
      reason: 'ENGINE_UNAVAILABLE',
      message: /tfjs-node-gpu and @tensorflow\/tfjs-node are not installed.*docs\/explanation\/engines\.md/,
    });
  });

  it('is reported as missing where the package came without its library, as npm leaves it offline', async () => {
    await assert.rejects(startBinding([{ name: 'gpu', directory }]), {
      reason: 'ENGINE_UNAVAILABLE',
      message: /gpu: its native library tfjs_binding\.node is not installed/,
    });
  });

  it('is reported with the loader’s words where it is broken, and nothing of the package runs', async () => {
    const addon = join(directory, 'lib/napi-v8');
    await mkdir(addon, { recursive: true });
    await writeFile(join(addon, 'tfjs_binding.node'), 'no library');
    const backends = tf.engine().backendNames();
    await assert.rejects(
      startBinding([
        { name: 'first', directory },
        { name: 'second', directory },
      ]),
      {
        reason: 'ENGINE_UNAVAILABLE',
        message: /first: .*(too short|invalid|not a).*; second: .*tfjs_binding\.node/i,
      },
    );
    assert.equal(Reflect.get(globalThis, 'brokenBindingRan'), undefined);
    assert.deepEqual(tf.engine().backendNames(), backends);
  });

  it('is not loaded for a GPU where the system shows no NVIDIA device', () => {
    const shown = ['/dev/nvidiactl', '/dev/nvidia0', '/dev/dxg', '/dev/nvmap'].some((file) =>
      existsSync(file),
    );
    assert.equal(mayHaveCudaDevice(), process.platform !== 'linux' || shown);
    assert.equal(skipReasonBeforeStart('tensorflow', 'auto') === null, mayHaveCudaDevice());
    assert.equal(skipReasonBeforeStart('tensorflow', 'tensorflow'), null);
    assert.equal(skipReasonBeforeStart('webgpu', 'auto'), null);
  });
});

describe('tensorflowEnvironment', () => {
  it('asks for memory growth and a cache of compiled kernels that outlives the process', () => {
    const set = tensorflowEnvironment({ XDG_CACHE_HOME: '/var/cache/me' });
    assert.equal(set['TF_FORCE_GPU_ALLOW_GROWTH'], 'true');
    assert.equal(set['CUDA_CACHE_PATH'], join('/var/cache/me', 'salad-serve', 'cuda'));
  });

  it('leaves what the operator set', () => {
    const set = tensorflowEnvironment({ TF_FORCE_GPU_ALLOW_GROWTH: 'false', CUDA_CACHE_PATH: '' });
    assert.ok(!('TF_FORCE_GPU_ALLOW_GROWTH' in set));
    assert.ok(!('CUDA_CACHE_PATH' in set));
    assert.ok('TF_CPP_MIN_LOG_LEVEL' in set);
  });
});
