import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import sharp from 'sharp';
import type { RunningServer } from '../../src/server/server.js';
import { createRandom } from '../../src/util/random.js';
import { runSalad } from '../support/programs/in-process-salad.js';
import { assertSelfContained } from '../support/programs/report-page.js';
import {
  type ModelsFolder,
  SIDE,
  smallImage,
  smallModels,
  startSmall,
} from '../support/servers/small-server.js';

describe('salad score', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let server: RunningServer;
  let folder: string;
  const at = (...names: string[]) => join(folder, ...names);
  const score = (...args: string[]) =>
    runSalad('score', '--target', server.address, '--model', 'small', ...args);

  async function writeImage(name: string, seed: number): Promise<void> {
    mkdirSync(join(at(name), '..'), { recursive: true });
    const raw = { width: SIDE, height: SIDE, channels: 1 } as const;
    writeFileSync(at(name), await sharp(smallImage(seed), { raw }).png().toBuffer());
  }

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path);
  });
  after(async () => {
    await server.stop(0);
    await models.remove();
  });
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'salad-score-'));
    await writeImage('in/a/img.png', 1);
    await writeImage('in/b/img.png', 2);
    writeFileSync(at('in/b/broken.png'), 'no image');
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it('scores folders with --recursive, and reports files and folders that it skips', async () => {
    writeFileSync(at('in/scan.tif'), '');
    const flat = await score(at('in'));
    assert.equal(flat.code, 2);
    assert.equal(
      flat.stderr,
      `salad: ${at('in')}: no PNG, JPEG or DICOM files in this folder ` +
        '(left out sub-folders (2), .tif files (1); add --recursive to search sub-folders)\n',
    );
    const { code, stdout, stderr } = await score(at('in'), '--recursive');
    assert.equal(code, 1);
    assert.match(stderr, /left out \.tif files \(1\)/);
    assert.match(stdout, /in\/a\/img\.png +\d+\.\d{3} /);
    assert.match(stdout, /3 images: .*1 failed/);
  });

  it('has a column of warnings, and a row for what failed', async () => {
    const { stdout } = await score(at('in/a/img.png'), at('in/b/broken.png'));
    const [header = '', first = '', failed = ''] = stdout.split('\n');
    assert.deepEqual(header.split(/ {2,}/), [
      'file',
      'score',
      'p-value',
      'decision',
      'patches',
      'ms',
      'warnings',
    ]);
    assert.match(first, / (normal|anomalous) +64 /);
    assert.match(failed, /broken\.png +- +- +failed +- +- +the file is neither PNG nor JPEG nor DICOM/);
  });

  it('reports the damage of a file without the name of a field', async () => {
    const { code, lines, stderr } = await score(at('in/b/broken.png'), '--json');
    assert.equal(code, 1);
    assert.deepEqual(lines, [
      {
        event: 'error',
        file: at('in/b/broken.png'),
        status: 'INVALID_ARGUMENT',
        reason: 'IMAGE_UNREADABLE',
        message: 'the file is neither PNG nor JPEG nor DICOM',
      },
    ]);
    assert.equal(stderr, `salad: ${at('in/b/broken.png')}: the file is neither PNG nor JPEG nor DICOM\n`);
  });

  it('says of an empty file that it is empty, however it is sent', async () => {
    writeFileSync(at('empty.png'), '');
    for (const mode of ['image', 'rows', 'tiles']) {
      const { code, stderr } = await score(at('empty.png'), '--mode', mode);
      assert.deepEqual([code, stderr], [1, `salad: ${at('empty.png')}: the file is empty\n`], mode);
    }
  });

  it('says of an image without anything to score which case it is', async () => {
    const random = createRandom(5);
    const cases = {
      'is too small: 2 x 64 pixels (rows x columns), at least 4 each way are needed': [2, () => 9],
      'is blank: all pixels have the same value': [SIDE, () => 128],
      'is flat: it holds nothing but noise or a smooth shade': [SIDE, () => 128 + Math.floor(random() * 2)],
    } as const;
    for (const [message, [height, valueAt]] of Object.entries(cases)) {
      const raw = { width: SIDE, height, channels: 1 } as const;
      writeFileSync(
        at('nothing.png'),
        await sharp(Uint8Array.from({ length: SIDE * height }, valueAt), { raw })
          .png()
          .toBuffer(),
      );
      const { lines } = await score(at('nothing.png'), '--json');
      assert.equal(lines[0]?.['decision'], 'indeterminate');
      assert.deepEqual(lines[0]?.['warnings'], [`The image ${message}; no patch was scored.`]);
    }
  });

  it('writes one line of CSV an image, the failed ones too', async () => {
    await writeImage('in/comma, "quote".png', 3);
    const csv = at('out/scores.csv');
    const { code, lines } = await score(at('in'), '--recursive', '--csv', csv, '--json');
    assert.equal(code, 1);
    const [header = '', ...rows] = readFileSync(csv, 'utf8').trimEnd().split('\n');
    assert.match(
      header,
      /^file,model,imageScore,pValue,threshold,decision,.*,warnings,error,frame,sopInstanceUid,laterality,view$/,
    );
    assert.equal(rows.length, 4);
    const scored = lines.find((line) => line['file'] === at('in/a/img.png'));
    const [file, model, imageScore, , , decision] = rows[0]?.split(',') ?? [];
    assert.deepEqual(
      [file, model, Number(imageScore), decision],
      [at('in/a/img.png'), 'small@1', scored?.['imageScore'], scored?.['decision']],
    );
    assert.match(rows[1] ?? '', /broken\.png,+the file is neither PNG nor JPEG nor DICOM,,,,$/);
    assert.ok(rows[3]?.startsWith(`"${at('in/comma, ""quote"".png')}",small@1,`), rows[3]);
  });

  it('lists what failed first in the report, on a page that loads nothing', async () => {
    const report = at('out/report.html');
    await writeImage('in/<b>&"\u202egnp.png', 3);
    await score(at('in'), '--recursive', '--report', report);
    const html = readFileSync(report, 'utf8');
    assertSelfContained(html);
    assert.ok(html.indexOf('Not scored') < html.indexOf('Scores'));
    assert.match(
      html,
      /<td><bdi>[^<]*broken\.png<\/bdi><\/td><td>the file is neither PNG nor JPEG nor DICOM<\/td>/,
    );
    assert.match(html, /4 images: /);
    assert.equal(html.match(/<section class="image"/g)?.length, 3);
    assert.equal(html.match(/<image class="colours"/g)?.length, 3);
    // A name cannot become markup, nor turn the text around it.
    assert.ok(html.includes('in/&#60;b&#62;&#38;&#34;\\u{202e}gnp.png') && !html.includes('\u202e'));
  });

  it('never writes a map over an input or over the map of another image', async () => {
    const input = readFileSync(at('in/a/img.png'));
    const over = await score(at('in/a/img.png'), '--anomaly-map', at('in/a/{name}.png'));
    assert.equal(over.code, 2);
    assert.match(over.stderr, /one of the files that are read/);
    const both = [at('in/a/img.png'), at('in/b/img.png')];
    const clash = await score(...both, '--anomaly-map', at('maps/{name}.png'));
    assert.equal(clash.code, 2);
    assert.match(clash.stderr, /would be written for .*a\/img\.png and for .*b\/img\.png/);
    const one = await score(...both, '--anomaly-map', at('map.png'));
    assert.equal(one.code, 2);
    assert.match(one.stderr, /put \{name\} into it/);
    assert.ok(!existsSync(at('maps')) && !existsSync(at('map.png')));
    assert.deepEqual(readFileSync(at('in/a/img.png')), input);
    const apart = await score(...both, '--anomaly-map', at('maps/{folder}-{name}.png'), '--json');
    assert.equal(apart.code, 0, apart.stderr);
    assert.deepEqual(readdirSync(at('maps')), ['a-img.png', 'b-img.png']);
    assert.equal(apart.lines[1]?.['anomalyMap'], at('maps/b-img.png'));
  });

  it('refuses a name for a map that does not end in .png', async () => {
    for (const name of ['map.jpg', 'map', 'map.png.bak', '{name}.{ext}x']) {
      const { code, stdout, stderr } = await score(at('in/a/img.png'), '--anomaly-map', at(name));
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, /--anomaly-map \S+: maps are written as PNG, so the name must end in \.png/);
    }
    const upper = await score(at('in/a/img.png'), '--anomaly-map', at('MAP.PNG'));
    assert.equal(upper.code, 0, upper.stderr);
    assert.deepEqual([...readFileSync(at('MAP.PNG')).subarray(1, 4)], [...Buffer.from('PNG')]);
  });

  it('tries the places of its files before it scores', async () => {
    for (const flag of ['--anomaly-map', '--report', '--csv']) {
      const { code, stdout, stderr } = await score(
        at('in/a/img.png'),
        flag,
        at('in/a/img.png/x.png'),
        '--json',
      );
      assert.equal(code, 2);
      assert.match(stderr, new RegExp(`${flag} .*cannot be written`));
      assert.doesNotMatch(stdout, /aggregate/);
    }
  });

  it('accepts a bundle folder for --model, with a server only if it serves that bundle', async () => {
    const bundle = join(models.path, 'small', '1');
    const served = await runSalad(
      'score',
      '--target',
      server.address,
      '--model',
      bundle,
      at('in/a/img.png'),
      '--json',
    );
    assert.equal(served.code, 0, served.stderr);
    const embedded = await runSalad(
      'score',
      '--model',
      bundle,
      '--engine',
      'onnx',
      at('in/a/img.png'),
      '--json',
    );
    assert.equal(embedded.code, 0, embedded.stderr);
    assert.equal(embedded.lines[0]?.['model'], 'small@1');
    assert.equal(embedded.lines[0]?.['imageScore'], served.lines[0]?.['imageScore']);
    const other = await smallModels({ version: 2 });
    try {
      const folder2 = join(other.path, 'small', '2');
      const refused = await runSalad(
        'score',
        '--target',
        server.address,
        '--model',
        folder2,
        at('in/a/img.png'),
      );
      assert.equal(refused.code, 2);
      assert.match(refused.stderr, /does not serve the bundle of --model/);
    } finally {
      await other.remove();
    }
  });

  it('reports once that a model is not loaded, and refuses flags without an effect', async () => {
    const missing = await runSalad(
      'score',
      '--target',
      server.address,
      '--model',
      'nosuch',
      at('in/a/img.png'),
      '--json',
    );
    assert.equal(missing.code, 2);
    assert.equal(missing.lines[0]?.['reason'], 'MODEL_NOT_FOUND');
    assert.match(missing.stderr, /nosuch is not loaded.*loaded: small@1/);
    for (const [args, message] of [
      [['--rows-per-second', '5'], /needs --mode rows/],
      [['--engine', 'wasm'], /cannot be used with option '--target/],
    ] as const) {
      const { code, stderr } = await score(at('in/a/img.png'), ...args);
      assert.equal(code, 2);
      assert.match(stderr, message);
    }
    const tls = await runSalad('score', at('in/a/img.png'), '--tls');
    assert.equal(tls.code, 2);
    assert.match(tls.stderr, /--tls needs --target/);
  });

  const textIfThere = (path: string) => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return '';
    }
  };

  /** Scores fifty images at a server of its own, and does something to it after the third. */
  async function scoreWhile(
    timeoutMs: number,
    disturb: (other: RunningServer) => Promise<RunningServer>,
    ...more: readonly string[]
  ) {
    for (let seed = 10; seed < 60; seed++) await writeImage(`many/${seed}.png`, seed);
    const other = await startSmall(models.path);
    const csv = at('scores.csv');
    const args = ['--model', 'small', '--timeout-ms', String(timeoutMs), '--csv', csv, ...more];
    let isOver = false;
    const running = runSalad('score', at('many'), '--target', other.address, ...args).finally(() => {
      isOver = true;
    });
    // Before its first row the command tries whether the file can be written, and removes what it tried.
    const rows = () => textIfThere(csv).split('\n').length - 2;
    let left = other;
    try {
      while (rows() < 3 && !isOver) await nextTurn();
      left = await disturb(other);
      return await running;
    } finally {
      await left.stop(0);
    }
  }

  it('warns of a model with too few calibration images for the false-positive rate', async () => {
    const few = await smallModels();
    try {
      const file = join(few.path, 'small', '1', 'manifest.json');
      const manifest = JSON.parse(readFileSync(file, 'utf8')) as { calibration: { imageScores: number[] } };
      manifest.calibration.imageScores = manifest.calibration.imageScores.slice(0, 9);
      writeFileSync(file, JSON.stringify(manifest));
      const args = ['score', '--models', few.path, '--engine', 'onnx', at('in/a/img.png')];
      const csv = at('scores.csv');
      const raised = await runSalad(...args, '--json', '--csv', csv);
      assert.equal(raised.code, 0, raised.stderr);
      assert.match(raised.stderr, /salad: warning: decided at a false-positive rate of 10 %/);
      assert.match(String(raised.lines[0]?.['warnings']), /decided at a false-positive rate of 10 %/);
      assert.match(readFileSync(csv, 'utf8'), /decided at a false-positive rate of 10 %/);

      const accepted = await runSalad(...args, '--json', '--max-false-positive-rate', '0.1');
      assert.doesNotMatch(accepted.stderr, /warning/);
      assert.deepEqual(accepted.lines[0]?.['warnings'], []);

      const refused = await runSalad(...args, '--json', '--max-false-positive-rate', '0.01');
      // Before the first image, once, with a rate that can be given.
      assert.equal(refused.code, 2);
      assert.match(
        refused.stderr,
        /^salad: --max-false-positive-rate 0\.01: .*9 calibration images allow 0\.1 at the lowest: give that .*\n$/,
      );
      assert.deepEqual(
        refused.lines.map(({ event, reason, file }) => [event, reason, file]),
        [['error', 'FALSE_POSITIVE_RATE_UNREACHABLE', undefined]],
      );
    } finally {
      await few.remove();
    }
  });

  it('continues after a restart of the server', async () => {
    const { code, stdout, stderr } = await scoreWhile(30_000, async (other) => {
      await other.stop(0);
      return startSmall(models.path, { listen: other.address });
    });
    assert.equal(code, 0, stderr);
    assert.match(stderr, /retrying for 30 s, until \d\d:\d\d:\d\d/);
    assert.match(stdout, /50 images: .*(normal|anomalous)/);
  });

  for (const mode of ['image', 'rows']) {
    it(`stops where the server does not return, and keeps the scores (${mode})`, async () => {
      const stop = async (other: RunningServer) => {
        await other.stop(0);
        return other;
      };
      const { code, stdout, stderr } = await scoreWhile(1000, stop, '--mode', mode);
      assert.equal(code, 1);
      assert.match(stderr, /retrying for 1 s, until/);
      assert.match(stderr, /the server is unavailable: the other \d+ images are not scored/);
      const [, left] = /50 images: .*1 failed, (\d+) not scored/.exec(stdout) ?? [];
      const rows = readFileSync(at('scores.csv'), 'utf8').trimEnd().split('\n').slice(1);
      assert.equal(new Set(rows.map((row) => row.split(',')[0])).size, 50);
      const notScored = rows.filter((row) => row.endsWith(',not scored: the server is unavailable,,,,'));
      assert.equal(notScored.length, Number(left));
    });
  }
});
