import assert from 'node:assert/strict';
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { prepareFiles, prepareFolder, refuseOtherFormat } from '../../../../src/cli/shared/output-files.js';
import { SaladError } from '../../../../src/errors/index.js';

describe('output paths', () => {
  let folder: string;
  const at = (...names: string[]) => join(folder, ...names);
  const refused = (promise: Promise<void>, message: RegExp) =>
    assert.rejects(
      promise,
      (error) =>
        error instanceof SaladError &&
        error.reason === 'CONFIGURATION_INVALID' &&
        message.test(error.message),
    );

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'salad-outputs-'));
    writeFileSync(at('input.png'), 'pixels');
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it('are created where folders are missing, and keep the content of existing files', async () => {
    writeFileSync(at('old.csv'), 'old');
    await prepareFiles([
      { flag: '--report', path: at('new', 'deep', 'report.html') },
      { flag: '--csv', path: at('old.csv') },
    ]);
    assert.deepEqual(readdirSync(at('new', 'deep')), []);
    assert.equal(readFileSync(at('old.csv'), 'utf8'), 'old');
    await prepareFolder('--out', at('out'));
    assert.deepEqual(readdirSync(at('out')), []);
  });

  it('do not replace a file of another format', async () => {
    writeFileSync(at('manifest.json'), '{"name": "mine"}');
    writeFileSync(at('empty'), '');
    writeFileSync(at('scores.csv'), 'file,imageScore\n');
    writeFileSync(at('report.html'), '<!doctype html>\n<title>');
    for (const [format, good] of [
      ['csv', 'scores.csv'],
      ['html', 'report.html'],
    ] as const) {
      await prepareFiles([{ flag: '--it', path: at(good), format }]);
      await prepareFiles([{ flag: '--it', path: at('empty'), format }]);
      for (const other of ['manifest.json', 'input.png']) {
        await refused(
          prepareFiles([{ flag: '--it', path: at(other), format }]),
          /--it .* holds something else/,
        );
      }
    }
    await refused(refuseOtherFormat('--onnx', at('scores.csv'), 'onnx'), /--onnx .*something else than ONNX/);
    assert.equal(readFileSync(at('manifest.json'), 'utf8'), '{"name": "mine"}');
  });

  it('are refused if they cannot be written', async () => {
    mkdirSync(at('existing'));
    await refused(prepareFiles([{ flag: '--report', path: at('existing') }]), /--report .*existing.*folder/);
    await refused(prepareFiles([{ flag: '--csv', path: at('input.png', 'x.csv') }]), /not a folder/);
    await refused(prepareFolder('--out', at('input.png')), /not a folder/);
    await refused(prepareFolder('--out', ''), /--out is empty/);
  });

  it('are refused in a file system that cannot create files, without blocking', async function () {
    if (!existsSync('/proc/self')) this.skip();
    await refused(prepareFiles([{ flag: '--report', path: '/proc/salad/report.html' }]), /cannot be written/);
    await refused(prepareFolder('--out', '/proc/salad/deep'), /cannot be written/);
  });

  it('are refused if they are an input, for every spelling of its path', async () => {
    linkSync(at('input.png'), at('hard.png'));
    symlinkSync('input.png', at('soft.png'));
    symlinkSync('.', at('here'));
    for (const path of ['input.png', 'hard.png', 'soft.png', 'here/input.png']) {
      const output = { flag: '--anomaly-map', path: `${folder}/${path}`, input: at('input.png') };
      await refused(prepareFiles([output], [at('input.png')]), /one of the files that are read/);
    }
    assert.equal(readFileSync(at('input.png'), 'utf8'), 'pixels');
  });

  it('are refused if two outputs use one, except for the map of an image that is given twice', async () => {
    symlinkSync('.', at('here'));
    const map = (input: string, path: string) => ({ flag: '--anomaly-map', path, input });
    await refused(
      prepareFiles([map('a/x.png', at('x.png')), map('b/x.png', `${folder}/here/x.png`)]),
      /for a\/x\.png and for b\/x\.png/,
    );
    await refused(
      prepareFiles([
        { flag: '--report', path: at('r') },
        { flag: '--csv', path: at('r') },
      ]),
      /--csv .* also the file of --report/,
    );
    await prepareFiles([map('a/x.png', at('x.png')), map('a/../a/x.png', at('x.png'))]);
  });
});
