/** The systemd unit of the gateway. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { parse } from 'yaml';
import { needs, runProgram } from '../support/dicom/dicom-programs.js';
import { modality, writeSettings } from '../support/dicom/gateway-program.js';
import { root } from '../support/root.js';

const UNIT = join(root, 'clients/modality/deploy/salad-modality.service');
const CONFIG = '/etc/salad-modality/gateway.yaml';
/** Of 100; a unit without any protection has 96. */
const EXPOSURE_MAX = 20;

describe('the systemd unit of the gateway', function () {
  this.timeout(60_000);
  let folder: string;
  let file: string;

  before(async function () {
    await needs(this, 'systemd-analyze');
    folder = mkdtempSync(join(tmpdir(), 'salad-unit-'));
    file = join(folder, 'salad-modality.service');
    // Where the programs are on this machine: systemd checks that they exist.
    const unit = readFileSync(UNIT, 'utf8').replace('/usr/bin/node', process.execPath);
    assert.ok(unit.includes(`ExecStart=${process.execPath} `));
    writeFileSync(file, unit);
  });
  after(() => {
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  it('is understood by systemd without a warning', async () => {
    const { code, output } = await runProgram('systemd-analyze', 'verify', '--man=no', file);
    const about = output.split('\n').filter((line) => line.includes('salad-modality'));
    assert.deepEqual([code, about], [0, []], output);
  });

  it('leaves the gateway little of the machine', async () => {
    const flags = ['--offline=true', '--no-pager', `--threshold=${EXPOSURE_MAX}`];
    const { code, output } = await runProgram('systemd-analyze', 'security', ...flags, file);
    assert.equal(code, 0, output);
  });

  it('runs a command that the program knows, with the inbox in the folder that systemd creates', async () => {
    const [, command = ''] = /^ExecStart=\S+ (.+)$/m.exec(readFileSync(UNIT, 'utf8')) ?? [];
    const [main = '', ...args] = command.split(' ');
    const { files, bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    assert.ok(main.endsWith(`salad-serve/${bin['salad-modality'].replace('./', '')}`), main);
    assert.ok(files.includes('clients/modality/deploy'));
    assert.ok(args.includes(CONFIG));
    // A section that is missing is the last thing that is checked before anything starts.
    const settings = writeSettings(folder, { dicom: undefined });
    const { code, stderr } = await modality(...args.map((each) => (each === CONFIG ? settings : each)));
    assert.equal(code, 2);
    assert.match(stderr, /nothing to receive from/);
    const pod = readFileSync(join(root, 'clients/modality/deploy/pod.yaml'), 'utf8').split('---\n')[0]!;
    const { inbox } = parse(parse(pod).data['gateway.yaml']);
    assert.ok(inbox.startsWith('/var/lib/salad-modality/'));
  });
});
