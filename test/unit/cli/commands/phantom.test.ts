import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { registerPhantom } from '../../../../src/cli/commands/phantom.js';
import { DicomImage } from '../../../../src/dicom/decode.js';
import { SaladError } from '../../../../src/errors/index.js';
import { decodeImage } from '../../../../src/imaging/decode/decode.js';
import {
  createDisplayTransform,
  defaultPixelFormat,
} from '../../../../src/imaging/pixel-format/pixel-format.js';
import { makePhantom } from '../../../../src/phantom/phantom.js';
import { loadDataset } from '../../../../src/training/data/dataset.js';

const LIMITS = { maxPixels: 1_000_000 };

describe('salad phantom', () => {
  let out = '';
  beforeEach(async () => {
    out = await mkdtemp(join(tmpdir(), 'salad-phantom-'));
  });
  afterEach(async () => {
    await rm(out, { recursive: true, force: true });
  });

  /** Runs the command as the program would, and returns its stdout. */
  async function run(...args: string[]): Promise<string> {
    const program = new Command('salad').exitOverride();
    registerPhantom(program);
    for (const command of program.commands) command.exitOverride().configureOutput({ writeErr: () => {} });
    let text = '';
    const write = process.stdout.write;
    process.stdout.write = ((chunk: string | Uint8Array) => {
      text += String(chunk);
      return true;
    }) as typeof process.stdout.write;
    try {
      await program.parseAsync(['phantom', '--out', out, '--size', '96', ...args], { from: 'user' });
    } finally {
      process.stdout.write = write;
    }
    return text;
  }

  it('writes PNGs whose full range shows what the windowed 12-bit phantom shows', async () => {
    await run('--count', '1', '--seed', '12');
    const phantom = makePhantom({ seed: 12, size: 96 });
    const expected = new Float32Array(96 * 96);
    createDisplayTransform({
      ...defaultPixelFormat(96, 96, 16, 12),
      voi: { kind: 'window', ...phantom.window, function: 'linear' },
    })(new Uint8Array(phantom.samples.buffer), expected);
    const image = await decodeImage(await readFile(join(out, 'normal/phantom-000012.png')), LIMITS);
    assert.deepEqual([image.rows, image.columns, image.bitsAllocated], [96, 96, 16]);
    const shown = new Float32Array(96 * 96);
    createDisplayTransform(defaultPixelFormat(96, 96, 16))(image.samples, shown);
    for (const [i, value] of shown.entries()) assert.ok(Math.abs(value - expected[i]!) < 0.003);
  });

  it('writes DICOM files with the 12-bit samples and the window for --format dicom, the same in every run', async () => {
    await run('--count', '1', '--seed', '12', '--format', 'dicom');
    const path = join(out, 'normal/phantom-000012.dcm');
    const bytes = await readFile(path);
    const phantom = makePhantom({ seed: 12, size: 96 });
    const image = new DicomImage(bytes, LIMITS);
    const { format, samples } = await image.frame(0);
    assert.deepEqual(Buffer.from(samples), Buffer.from(phantom.samples.buffer));
    assert.deepEqual(format.voi, { kind: 'window', ...phantom.window, function: 'linear' });
    assert.deepEqual([format.rows, format.columns, format.bitsStored], [96, 96, 12]);
    const { laterality, sopInstanceUid, ...instance } = image.description.instance;
    assert.deepEqual([instance, laterality], [{ view: 'PA', orientation: 'L\\F' }, null]);
    assert.match(sopInstanceUid ?? '', /^2\.25\.[1-9]\d{20,38}$/);
    await run('--count', '1', '--seed', '12', '--format', 'dicom');
    assert.deepEqual(await readFile(path), bytes);
    assert.match(
      await readFile(join(out, 'manifest.tsv'), 'utf8'),
      /\tnormal\/phantom-000012\.dcm\tphantom-000012\t/,
    );
  });

  it('writes the four kinds of lesions in turn for --lesion mix, with a mask for each', async () => {
    const result = JSON.parse(await run('--count', '5', '--seed', '3', '--lesion', 'mix', '--json'));
    assert.deepEqual(
      result.files.map((file: { path: string }) => file.path),
      [
        'nodule/phantom-000003.png',
        'consolidation/phantom-000004.png',
        'effusion/phantom-000005.png',
        'device/phantom-000006.png',
        'nodule/phantom-000007.png',
      ],
    );
    for (const { mask, seed, lesion, box } of result.files) {
      const image = await decodeImage(await readFile(join(out, mask)), LIMITS);
      const expected = makePhantom({ seed, lesion, size: 96 }).lesion;
      assert.ok(expected);
      assert.deepEqual(
        image.samples,
        expected.mask.map((value) => value * 255),
      );
      assert.deepEqual(box, expected.box);
    }
  });

  it('writes a folder that training and evaluation read, with masks left out and one patient per seed', async () => {
    await run('--count', '2', '--seed', '8');
    await run('--count', '1', '--seed', '9', '--lesion', 'effusion');
    const dataset = await loadDataset(out);
    assert.deepEqual(
      dataset.images.map(({ id, label, patient }) => [id, label, patient]),
      [
        ['normal/phantom-000008.png', 'normal', 'phantom-000008'],
        ['normal/phantom-000009.png', 'normal', 'phantom-000009'],
        ['effusion/phantom-000009.png', 'effusion', 'phantom-000009'],
      ],
    );
    assert.deepEqual((await readdir(out)).sort(), ['effusion', 'manifest.tsv', 'masks', 'normal']);
  });

  it('keeps the manifest lines of earlier runs, one line per file', async () => {
    await run('--count', '2', '--seed', '1');
    await run('--count', '2', '--seed', '2', '--lesion', 'none');
    const lines = (await readFile(join(out, 'manifest.tsv'), 'utf8')).trimEnd().split('\n');
    assert.equal(lines[0], 'id\tpath\tpatient\tseed\tlesion\tbox\twindow');
    assert.deepEqual(
      lines.slice(1).map((line) => line.split('\t')[3]),
      ['1', '2', '3'],
    );
  });

  it('prints the written files', async () => {
    const text = await run('--count', '1', '--seed', '4', '--lesion', 'nodule');
    assert.equal(text, `${join(out, 'nodule/phantom-000004.png')}\n`);
  });

  it("refuses numbers out of range and another program's manifest", async () => {
    const invalid = (error: unknown): boolean =>
      error instanceof SaladError && error.reason === 'CONFIGURATION_INVALID';
    for (const args of [
      ['--count', '0'],
      ['--count', 'x'],
      ['--count', '1', '--seed', '-1'],
      ['--count', '1', '--size', '10'],
    ]) {
      await assert.rejects(run(...args), { code: 'commander.invalidArgument' });
    }
    await writeFile(join(out, 'manifest.tsv'), 'file\tlabel\n');
    await assert.rejects(run('--count', '1'), invalid);
    assert.deepEqual(await readdir(out), ['manifest.tsv']);
    await assert.rejects(run('--count', '1', '--lesion', 'fracture'), /Allowed choices/);
  });

  it('refuses a folder that cannot be written, before it creates an image', async () => {
    await writeFile(join(out, 'file'), '');
    const args = ['--count', '1', '--out', join(out, 'file', 'deeper')];
    await assert.rejects(run(...args), { reason: 'CONFIGURATION_INVALID' });
  });
});
