/** The same images in every input form of the command line. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import sharp from 'sharp';
import { endedEarly, withFrame, withZeros } from '../support/images/damage.js';
import { type ServeProcess, salad, startServe } from '../support/programs/salad.js';

describe('images in every mode of the command line', function () {
  this.timeout(300_000);
  const directory = mkdtempSync(join(tmpdir(), 'salad-input-forms-'));
  const data = join(directory, 'data');
  let jpeg: Buffer;
  let server: ServeProcess;

  before(async () => {
    server = await startServe('--engine', 'onnx');
    const made = await salad('phantom', '--count', '24', '--size', '256', '--seed', '31', '--out', data);
    assert.equal(made.code, 0, made.stderr);
    const [first] = readdirSync(join(data, 'normal'));
    jpeg = await sharp(join(data, 'normal', String(first)))
      .toColourspace('b-w')
      .jpeg({ quality: 85 })
      .toBuffer();
  });
  after(async () => {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  /** The data folder with one more normal, which is damaged. */
  function withDamaged(name: string, bytes: Uint8Array): string {
    const folder = join(directory, name);
    cpSync(data, folder, { recursive: true });
    writeFileSync(join(folder, 'normal', 'zz-damaged.jpg'), bytes);
    return folder;
  }

  it('have the same scores in every mode, on models of both kinds', async () => {
    const files = readdirSync(join(data, 'normal')).slice(0, 2);
    const small = await sharp(jpeg).resize(180, 140).png().toBuffer();
    const other = join(directory, 'small.png');
    writeFileSync(other, small);
    const paths = [...files.map((file) => join(data, 'normal', file)), other];
    for (const model of ['chest-pediatric', 'chest-adult', 'phantom']) {
      const scores = async (mode: string) => {
        const words = ['--target', server.address, '--model', model, '--mode', mode, '--json'];
        const { code, lines, stderr } = await salad('score', ...paths, ...words);
        assert.equal(code, 0, stderr);
        assert.deepEqual(
          [lines.length, lines.every(({ imageScore }) => Number.isFinite(imageScore))],
          [3, true],
        );
        return lines.map(({ imageScore }) => Number(imageScore));
      };
      const expected = await scores('image');
      for (const mode of ['rows', 'tiles']) {
        for (const [index, score] of (await scores(mode)).entries()) {
          // Tiles of one batch sum in another order.
          assert.ok(
            Math.abs(score - expected[index]!) < 1e-5,
            `${model}, ${mode}: ${score}, ${expected[index]}`,
          );
        }
      }
    }
  });

  it('are refused where they are damaged: score in every mode, evaluate, calibrate and train', async () => {
    const damaged = {
      early: endedEarly(jpeg, 0.5),
      zeros: withZeros(jpeg, 0.5),
      taller: withFrame(jpeg, (rows, columns) => [2 * rows, columns]),
    };
    const files = Object.entries(damaged).map(([name, bytes]) => {
      const file = join(directory, `${name}.jpg`);
      writeFileSync(file, bytes);
      return file;
    });
    const words = ['--target', server.address, '--model', 'phantom', '--json'];
    for (const mode of ['image', 'rows', 'tiles']) {
      const { code, lines } = await salad('score', ...files, ...words, '--mode', mode);
      assert.equal(code, 1, mode);
      assert.deepEqual(
        lines.map(({ event, reason }) => [event, reason]),
        files.map(() => ['error', 'IMAGE_UNREADABLE']),
      );
    }
    const folder = withDamaged('damaged', damaged.zeros);
    const model = join(directory, 'model');
    for (const words of [
      ['evaluate', '--model', 'phantom', '--data', folder],
      ['calibrate', '--model', 'phantom', '--data', folder, '--out', join(directory, 'calibrated')],
      ['train', '--data', folder, '--out', model, '--name', 'mine', '--preset', 'gabor-stream'],
    ]) {
      // The manifest of the phantoms does not list the image that was added.
      const { code, stderr } = await salad(...words, '--engine', 'onnx', '--patients', 'none');
      assert.equal(code, 1, `${words[0]}: ${stderr}`);
      assert.match(stderr, /the image cannot be read: /, words[0]);
    }
    assert.deepEqual(readdirSync(directory).includes('model') && readdirSync(model), false);
  });

  it('of a blank exposure are counted as not scored where a bundle is evaluated', async () => {
    const folder = join(directory, 'blank');
    cpSync(data, folder, { recursive: true });
    for (let i = 0; i < 3; i++) {
      const blank = Buffer.alloc(256 * 256, 40 + i);
      const file = await sharp(blank, { raw: { width: 256, height: 256, channels: 1 } })
        .png()
        .toBuffer();
      writeFileSync(join(folder, 'normal', `zz-blank-${i}.png`), file);
    }
    const words = [
      '--model',
      'chest-pediatric',
      '--data',
      folder,
      '--patients',
      'none',
      '--engine',
      'onnx',
      '--json',
    ];
    const { code, lines, stderr } = await salad('evaluate', ...words);
    assert.equal(code, 0, stderr);
    const [{ notScored, normal }] = lines as [{ notScored: number; normal: { count: number } }];
    assert.deepEqual([notScored, normal.count], [3, 24]);
    assert.ok(readFileSync(join(folder, 'manifest.tsv')).length > 0);
  });
});
