import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { runSalad } from '../support/programs/in-process-salad.js';
import { assertKeepsFields } from '../support/programs/json-fields.js';
import { type ModelsFolder, smallModels } from '../support/servers/small-server.js';

describe('salad models inspect', () => {
  it('prints neither encoded data nor long fractions, and all of them with --json', async () => {
    const { stdout } = await runSalad('models', 'inspect', 'chest-adult@2');
    assert.match(
      stdout,
      /^input\.alignment\.reference: \S{16}… \(\d{4,} characters; all of them with --json\)$/m,
    );
    assert.doesNotMatch(stdout, /\S{100}|\d\.\d{9}/);
    const { lines } = await runSalad('models', 'inspect', 'chest-adult@2', '--json');
    assertKeepsFields('models inspect', lines[0]);
    const [properties] = lines as unknown as [{ input: { alignment: { reference: string } } }];
    assert.match(properties.input.alignment.reference, /^[A-Za-z0-9+/]{1000,}=*$/);
  });
});

/** Wrong names and paths on a command line: the same exit code in every command, and words that help. */
describe('a command line', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let folder: string;
  const at = (...names: string[]) => join(folder, ...names);

  before(async () => {
    models = await smallModels();
    folder = mkdtempSync(join(tmpdir(), 'salad-inputs-'));
    mkdirSync(at('empty'));
    mkdirSync(at('unversioned/small'), { recursive: true });
    mkdirSync(at('data/normal'), { recursive: true });
    writeFileSync(at('data/normal/a.png'), 'no image');
    writeFileSync(at('file'), '');
  });
  after(async () => {
    await models.remove();
    rmSync(folder, { recursive: true });
  });

  async function wrong(args: readonly string[], message: RegExp): Promise<void> {
    const { code, stderr } = await runSalad(...args);
    const text = `${args.join(' ')}\n${stderr}`;
    assert.equal(code, 2, text);
    assert.match(stderr, message, text);
    assert.doesNotMatch(stderr, /\b(ENOENT|EACCES|EISDIR|ENOTDIR)\b|, (open|stat|scandir) '|\n {4}at /, text);
  }

  it('that names a path which is not there is wrong usage', async () => {
    const model = ['--model', join(models.path, 'small/1')];
    const missing = at('missing');
    for (const args of [
      ['score', missing],
      ['score', at('file', 'below')],
      ['dicom', 'info', missing],
      ['train', '--data', missing, '--out', at('out/m/1')],
      ['train', '--data', at('data'), '--patients', missing, '--out', at('out/m/1')],
      ['train', '--data', at('data'), '--encoder', missing, '--out', at('out/m/1')],
      ['calibrate', '--data', missing, '--out', at('out'), ...model],
      ['evaluate', '--data', missing, ...model],
      ['evaluate', '--data', at('data'), '--patients', missing, ...model],
      ['models', 'list', '--models', missing],
      ['serve', '--models', missing],
      ['serve', '--config', missing],
      ['serve', '--set', `authApiKeysFile=${missing}`],
      ['serve', '--set', `tlsCertFile=${missing}`, '--set', `tlsKeyFile=${missing}`],
    ]) {
      await wrong(args, /(missing|below)\b.*(no such file or directory|a file, not a folder)/);
    }
  });

  it('that names something else than what is needed is wrong usage', async () => {
    const model = ['--model', join(models.path, 'small/1')];
    for (const verb of [['train'], ['calibrate', ...model], ['evaluate', ...model]]) {
      const out = verb[0] === 'evaluate' ? [] : ['--out', at('out/m/1')];
      await wrong([...verb, ...out, '--data', at('file')], /--data \S+file is not a folder/);
      await wrong([...verb, ...out, '--data', at('empty')], /empty holds no normal PNG, JPEG or DICOM image/);
      await wrong([...verb, ...out, '--data', at('data'), '--normal', 'x'], /--normal x: .* no such folder/);
      await wrong([...verb, ...out, '--data', at('data'), '--patients', at('empty')], /empty is not a file/);
    }
    await wrong(['dicom', 'info', at('empty')], /is a folder: name the files in it/);
    await wrong(['serve', '--models', at('file')], /file cannot be read: a part of the path is a file/);
    await wrong(['train', '--data', at('data'), '--out', at('file/m/1')], /a part of the path is a file/);
  });

  it('that names an address which this machine cannot listen on says why', async () => {
    for (const [listen, why] of [
      ['192.0.2.1:50051', 'this machine has no such address'],
      ['no-such-host.invalid:50051', 'the host name cannot be resolved'],
    ] as const) {
      const flags = ['--models', models.path, '--listen', listen, '--set', 'allowPlaintext=true'];
      const { code, stderr } = await runSalad('serve', ...flags);
      assert.deepEqual([code, stderr], [1, `salad: listen ${listen}: ${why}\n`]);
    }
  });

  it('that names a model which is not there is asked whether it means another', async () => {
    const all = ['--models', models.path];
    const used = [
      ['score', at('data/normal/a.png')],
      ['load'],
      ['evaluate', '--data', at('data')],
      ['calibrate', '--data', at('data'), '--out', at('out')],
    ];
    for (const verb of used) {
      await wrong([...verb, ...all, '--model', 'smal'], /did you mean small\?/);
      await wrong([...verb, ...all, '--model', 'smal@1'], /did you mean small@1\?/);
    }
    await wrong(['models', 'inspect', 'small@7', ...all], /did you mean small@1\?/);
    await wrong(
      ['models', 'verify', 'entirely-else', ...all],
      /there is small@1\), and no bundle folder of that name$/m,
    );
  });

  it('that names a folder of models without versions, or one level too low, says so', async () => {
    const noVersion = /unversioned.small: it holds no VERSION folder \(1, 2, 3, \.\.\.\)/;
    await wrong(['serve', '--models', at('unversioned')], noVersion);
    await wrong(['score', at('data/normal/a.png'), '--models', at('unversioned')], noVersion);
    await wrong(['models', 'inspect', 'small', '--models', at('unversioned')], noVersion);
    const listed = await runSalad('models', 'list', '--models', at('unversioned'));
    assert.match(listed.stdout, noVersion);
    await wrong(
      ['serve', '--models', join(models.path, 'small')],
      /it contains manifest\.json, but a bundle must/,
    );
    // A folder that is a bundle itself is one model.
    const single = await runSalad('models', 'list', '--models', join(models.path, 'small/1'), '--json');
    const listedModels = single.lines[0]?.['models'] as readonly { readonly model: string }[];
    assert.deepEqual(
      listedModels.map(({ model }) => model),
      ['small@1'],
    );
  });
});
