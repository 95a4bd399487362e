import assert from 'node:assert/strict';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, it } from 'mocha';
import { loadConfig, loadConfigWithOrigins } from '../../../src/config/load.js';
import { CONFIG_FIELDS } from '../../../src/config/schema.js';

async function yamlFile(text: string): Promise<string> {
  const file = join(await mkdtemp(join(tmpdir(), 'salad-config-')), 'salad.yaml');
  await writeFile(file, text);
  return file;
}

const invalid = (message: RegExp) => (error: unknown) => {
  assert.equal((error as { reason?: string }).reason, 'CONFIGURATION_INVALID');
  assert.match((error as Error).message, message);
  return true;
};

describe('loadConfig', () => {
  it('returns the defaults, which are all valid', async () => {
    const config = await loadConfig();
    for (const [key, field] of Object.entries(CONFIG_FIELDS)) {
      assert.equal(config[key as keyof typeof config], field.default);
      assert.ok(field.schema.safeParse(field.default).success, key);
    }
    assert.ok(Object.isFrozen(config));
  });

  it('prefers flags to variables and variables to the file', async () => {
    const file = await yamlFile('listen: 127.0.0.1:1\nworkers: 3\nmaxBatchSize: 7\n');
    const config = await loadConfig({
      file,
      environment: { SALAD_LISTEN: '127.0.0.1:2', SALAD_WORKERS: '4', SALAD_ENGINE: '' },
      flags: { listen: '127.0.0.1:3', engine: undefined },
    });
    assert.deepEqual(
      [config.listen, config.workers, config.maxBatchSize, config.engine],
      ['127.0.0.1:3', 4, 7, 'auto'],
    );
  });

  it('refuses unknown keys in the file and in flags, and names them', async () => {
    const file = await yamlFile('lisen: 127.0.0.1:1\n');
    await assert.rejects(loadConfig({ file }), invalid(/lisen/));
    await assert.rejects(loadConfig({ flags: { __proto__x: 1 } }), invalid(/__proto__x/));
    await assert.rejects(loadConfig({ flags: { toString: 'x' } }), invalid(/toString/));
  });

  it('reports all problems at once, with file and line, the closest key and the allowed values', async () => {
    const file = await yamlFile('# site\nworkers: 3\nmaxQueuMs: 5\nengine: cuda\nretryDelayMs: [1]\n');
    await assert.rejects(loadConfig({ file, environment: { SALAD_WORKERS: 'many' } }), (error: Error) => {
      assert.deepEqual(error.message.split('\n'), [
        `${file}:3: unknown setting "maxQueuMs"; did you mean maxQueueMs?`,
        `${file}:4: engine = "cuda"; allowed: auto, tensorflow, webgpu, openvino, onnx, wasm`,
        `${file}:5: retryDelayMs = [1]; allowed: 1 to 600000 ms`,
        'SALAD_WORKERS: workers = "many"; allowed: 0 to 256 threads',
      ]);
      return true;
    });
  });

  it('refuses a key that the file contains twice, and names the line', async () => {
    const file = await yamlFile('workers: 1\nworkers: 2\n');
    await assert.rejects(loadConfig({ file }), invalid(/salad\.yaml:2: .*unique/));
  });

  it('returns the source of every value', async () => {
    const file = await yamlFile('workers: 3\nmaxBatchSize: 7\n');
    const { config, origins } = await loadConfigWithOrigins({
      file,
      defaults: { models: '/shipped' },
      environment: { SALAD_WORKERS: '4', SALAD_LOG_LEVEL: 'warn' },
      flags: { logLevel: 'error' },
    });
    assert.deepEqual([config.workers, config.logLevel, config.models], [4, 'error', ['/shipped']]);
    assert.deepEqual(origins.maxBatchSize, { source: 'file', where: `${file}:2` });
    assert.deepEqual(origins.workers, { source: 'environment', where: 'SALAD_WORKERS' });
    assert.deepEqual(origins.logLevel, { source: 'flag', where: 'flag logLevel' });
    assert.deepEqual(origins.models, { source: 'default', where: '' });
    assert.deepEqual(origins.listen, { source: 'default', where: '' });
  });

  it('accepts models as one path, as a list, and separated as in PATH', async () => {
    const modelsOf = async (flags: Readonly<Record<string, unknown>>) => (await loadConfig({ flags })).models;
    assert.deepEqual(await modelsOf({ models: '/a' }), ['/a']);
    assert.deepEqual(await modelsOf({ models: ['/a', '/b:c'] }), ['/a', '/b:c']);
    const { models } = await loadConfig({ environment: { SALAD_MODELS: ['/a', '/b'].join(delimiter) } });
    assert.deepEqual(models, ['/a', '/b']);
    await assert.rejects(modelsOf({ models: [] }), { reason: 'CONFIGURATION_INVALID' });
    await assert.rejects(
      modelsOf({ modelVersions: 'newest' }),
      /modelVersions = "newest"; allowed: all, latest:N/,
    );
  });

  it('refuses a misspelt SALAD_ variable, and ignores the variables of Kubernetes and of clients', async () => {
    await assert.rejects(
      loadConfig({ environment: { SALAD_MAX_QUEU_MS: '1' } }),
      invalid(/SALAD_MAX_QUEU_MS.*did you mean SALAD_MAX_QUEUE_MS/),
    );
    const config = await loadConfig({
      environment: {
        SALAD_SERVICE_HOST: '10.0.0.1',
        SALAD_SERVE_SERVICE_PORT_GRPC: '50051',
        SALAD_PORT: 'tcp://x',
        SALAD_PORT_50051_TCP_ADDR: '10.0.0.1',
        SALAD_CLIENT_TOKEN: 'x',
      },
    });
    assert.equal(config.listen, CONFIG_FIELDS.listen.default);
  });

  it('refuses values of the wrong type or out of bounds, and names the key', async () => {
    const wrong: readonly (readonly [string, unknown])[] = [
      ['workers', '-1'],
      ['workers', '1.5'],
      ['workers', 100000],
      ['workers', ''],
      ['engine', 'cuda'],
      ['listen', '50051'],
      ['maxImagePixels', '0'],
    ];
    for (const [key, value] of wrong) {
      await assert.rejects(loadConfig({ flags: { [key]: value } }), invalid(new RegExp(key)));
    }
  });

  it('refuses a file that does not exist, is not YAML or is not a mapping', async () => {
    await assert.rejects(loadConfig({ file: '/nonexistent/salad.yaml' }), invalid(/nonexistent/));
    await assert.rejects(loadConfig({ file: await yamlFile('a: [') }), invalid(/salad\.yaml/));
    await assert.rejects(loadConfig({ file: await yamlFile('- a\n- b\n') }), invalid(/mapping/));
  });
});
