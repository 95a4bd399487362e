import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { after, before, describe, it } from 'mocha';
import sharp from 'sharp';
import type { RunningServer } from '../../src/server/server.js';
import { root } from '../support/root.js';
import {
  type ModelsFolder,
  SIDE,
  smallImage,
  smallModels,
  startSmall,
} from '../support/servers/small-server.js';

const execute = promisify(execFile);

/** clients/typescript/examples with the built package, as in a project that has installed it. */
describe('the examples of the TypeScript client', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let server: RunningServer;
  let folder: string;

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path);
    folder = mkdtempSync(join(tmpdir(), 'salad-examples-'));
    cpSync(join(root, 'clients/typescript/examples'), folder, { recursive: true });
    const client = join(folder, 'node_modules/@salad-serve/client');
    mkdirSync(client, { recursive: true });
    writeFileSync(join(client, 'package.json'), '{ "type": "module", "main": "index.js" }');
    symlinkSync(join(root, 'dist/clients/typescript/src/index.js'), join(client, 'index.js'));
    const raw = { width: SIDE, height: SIDE, channels: 1 } as const;
    writeFileSync(join(folder, 'image.png'), await sharp(smallImage(1), { raw }).png().toBuffer());
  });
  after(async () => {
    await server.stop(0);
    await models.remove();
    rmSync(folder, { recursive: true });
  });

  const run = async (file: string, ...args: readonly string[]) =>
    execute(process.execPath, [file, ...args], { cwd: folder }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: { code: number; stdout: string; stderr: string }) => error,
    );

  it('print decisions by name', async () => {
    const files = await run('score-files.mjs', server.address, 'small', 'image.png');
    assert.match(files.stdout, /^image\.png: (normal|anomalous), p = \d\.\d{4}\n/);
    const detector = await run('stream-detector.mjs', server.address, 'small');
    assert.deepEqual([detector.code, detector.stderr], [0, '']);
    assert.match(detector.stdout, /^(normal|anomalous|indeterminate), p = [\d.aN]+, \d+ patches scored$/m);
  });

  it('say in a line what failed, and end with exit code 1', async () => {
    const loaded = 'model nobody is not loaded; loaded: small@1';
    for (const [file, args, said] of [
      ['score-files.mjs', ['nobody', 'image.png'], `image.png: ${loaded}\n`],
      ['score-files.mjs', ['small', 'missing.png'], 'missing.png: ENOENT: no such file or directory'],
      ['stream-detector.mjs', ['nobody'], `the call failed: ${loaded}\n`],
    ] as const) {
      const { code, stderr } = await run(file, server.address, ...args);
      assert.equal(code, 1);
      assert.ok(stderr.startsWith(said), stderr);
      assert.equal(stderr.trimEnd().split('\n').length, 1, stderr);
    }
  });
});
