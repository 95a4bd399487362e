import assert from 'node:assert/strict';
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

  it('is reported as not installed without its package', async () => {
    await assert.rejects(startBinding([]), {
      reason: 'ENGINE_UNAVAILABLE',
      message: /tfjs-node-gpu and @tensorflow\/tfjs-node are not installed.*docs\/explanation\/engines\.md/,
    });
  });

  it('is reported as missing where the package has no library, as after an offline installation', async () => {
    await assert.rejects(startBinding([{ name: 'gpu', directory }]), {
      reason: 'ENGINE_UNAVAILABLE',
      message: /gpu: its native library tfjs_binding\.node is not installed/,
    });
  });

  it('is reported with the message of the loader where it is broken, and the package does not run', async () => {
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

  it('is not loaded under auto where Linux shows no NVIDIA device', () => {
    assert.equal(
      mayHaveCudaDevice('linux', () => false),
      false,
    );
    for (const device of ['/dev/nvidiactl', '/dev/nvidia0', '/dev/dxg', '/dev/nvmap']) {
      assert.ok(mayHaveCudaDevice('linux', (file) => file === device));
    }
    assert.ok(mayHaveCudaDevice('win32', () => false));
    assert.equal(skipReasonBeforeStart('tensorflow', 'auto') === null, mayHaveCudaDevice());
    assert.equal(skipReasonBeforeStart('tensorflow', 'tensorflow'), null);
    assert.equal(skipReasonBeforeStart('webgpu', 'auto'), null);
  });
});

describe('tensorflowEnvironment', () => {
  it('sets memory growth and a folder for compiled kernels that outlives the process', () => {
    const set = tensorflowEnvironment({ XDG_CACHE_HOME: '/var/cache/me' });
    assert.equal(set['TF_FORCE_GPU_ALLOW_GROWTH'], 'true');
    assert.equal(set['CUDA_CACHE_PATH'], join('/var/cache/me', 'salad-serve', 'cuda'));
  });

  it('does not replace variables that are set', () => {
    const set = tensorflowEnvironment({ TF_FORCE_GPU_ALLOW_GROWTH: 'false', CUDA_CACHE_PATH: '' });
    assert.ok(!('TF_FORCE_GPU_ALLOW_GROWTH' in set));
    assert.ok(!('CUDA_CACHE_PATH' in set));
    assert.ok('TF_CPP_MIN_LOG_LEVEL' in set);
  });
});
