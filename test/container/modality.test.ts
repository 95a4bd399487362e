import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { stringify } from 'yaml';
import { dicomFile } from '../../bench/support/dicom-file.js';
import { makePhantom } from '../../src/phantom/phantom.js';
import { runProgram, storeStatuses } from '../support/dicom/dicom-programs.js';
import { logOf, MODALITY_IMAGE, podman, readyLine, stateOf } from '../support/programs/container.js';
import { startServe } from '../support/programs/salad.js';

const MAIN = '/app/dist/clients/modality/src/main.js';
const CONFIG = '/etc/salad-modality/config/gateway.yaml';
/** Flags like those of a restricted pod: only the volume of the inbox is writable, no capabilities. */
const RESTRICTED = ['--read-only', '--cap-drop', 'all', '--security-opt', 'no-new-privileges'];

describe('the container image of the gateway', function () {
  this.timeout(300_000);
  const containers: string[] = [];
  let folder: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'salad-modality-image-'));
    mkdirSync(join(folder, 'state'));
    // Of the user in the container.
    chmodSync(folder, 0o755);
    chmodSync(join(folder, 'state'), 0o777);
  });
  after(async () => {
    await podman('rm', '--force', '--ignore', ...containers);
    rmSync(folder, { recursive: true });
  });

  const start = async (settings: object): Promise<string> => {
    const name = `salad-modality-${randomUUID().slice(0, 8)}`;
    containers.push(name);
    writeFileSync(join(folder, 'gateway.yaml'), stringify(settings), { mode: 0o644 });
    const volumes = [
      ...['--volume', `${join(folder, 'gateway.yaml')}:${CONFIG}:ro`],
      ...['--volume', `${join(folder, 'state')}:/var/lib/salad-modality`],
    ];
    const serve = ['serve', '--config', CONFIG, '--json'];
    await podman('run', '--detach', '--name', name, ...RESTRICTED, ...volumes, MODALITY_IMAGE, ...serve);
    return name;
  };

  it('runs as an unprivileged user, and contains no shell, no engine and no model', async () => {
    const [image] = JSON.parse(await podman('image', 'inspect', MODALITY_IMAGE)) as [Image];
    assert.equal(image.Config.User, '10001:10001');
    assert.equal(image.Config.Labels['org.opencontainers.image.title'], 'salad-modality');
    assert.ok(image.Size < 250e6, `${image.Size} bytes`);
    const script = `
      const { readdirSync, readFileSync } = require('node:fs');
      const modules = '/app/node_modules';
      const packages = readdirSync(modules).flatMap((name) =>
        name.startsWith('@') ? readdirSync(modules + '/' + name).map((each) => name + '/' + each) : name);
      const notices = readFileSync('/app/THIRD-PARTY-NOTICES.txt', 'utf8');
      console.log(JSON.stringify({ app: readdirSync('/app'), programs: readdirSync('/usr/bin'), packages, notices }));`;
    const inside = JSON.parse(
      await podman('run', '--rm', ...RESTRICTED, '--entrypoint', 'node', MODALITY_IMAGE, '-e', script),
    ) as { app: string[]; programs: string[]; packages: string[]; notices: string };
    assert.ok(!inside.app.includes('models'), inside.app.join(' '));
    assert.deepEqual(
      inside.programs.filter((name) => /^(sh|bash|dash|perl|npm|apt|dpkg|gcc)$/.test(name)),
      [],
    );
    assert.deepEqual(
      inside.packages.filter((name) => /onnxruntime|tensorflow|usearch|typescript|mocha/.test(name)),
      [],
    );
    assert.deepEqual(
      inside.packages.filter((name) => !inside.notices.includes(`\n${name} `)),
      [],
    );
  });

  it('answers C-ECHO, keeps and scores what it is sent, and stops on SIGTERM, with a read-only root', async () => {
    const server = await startServe();
    try {
      const name = await start({
        inbox: '/var/lib/salad-modality/inbox',
        keepFreeMib: 1,
        dicom: { listen: '127.0.0.1:0', callers: [{ aeTitle: 'DX1' }] },
        server: { targets: [server.address], model: 'phantom' },
      });
      const { dicom } = (await readyLine(name)) as { dicom: string };
      const port = dicom.slice(dicom.lastIndexOf(':') + 1);
      const peer = ['-aet', 'DX1', '-aec', 'SALAD', '127.0.0.1', port];
      const echo = await runProgram('echoscu', ...peer);
      assert.equal(echo.code, 0, echo.output);
      // A codec of each of its WebAssembly libraries, so that the decoder process is complete.
      const { samples } = makePhantom({ seed: 5, size: 256, lesion: 'effusion' });
      const files: string[] = [];
      for (const syntax of ['jpeg2000Lossless', 'jpegLsLossless'] as const) {
        const uid = `1.2.3.${files.length + 1}`;
        const elements = { '00080016 UI': '1.2.840.10008.5.1.4.1.1.1.1', '00080018 UI': uid };
        const image = { syntax, rows: 256, columns: 256, cells: samples, bitsStored: 12, elements };
        files.push(join(folder, `${syntax}.dcm`));
        writeFileSync(files.at(-1)!, await dicomFile(image));
      }
      for (const [index, flag] of ['-xv', '-xt'].entries()) {
        const sent = await runProgram('storescu', '-v', '-d', flag, ...peer, files[index]!);
        assert.deepEqual(storeStatuses(sent.output), ['0x0000'], sent.output);
      }
      const status = async () => {
        const text = await podman('exec', name, 'node', MAIN, 'status', '--config', CONFIG, '--json');
        return (JSON.parse(text) as { readonly counts: Readonly<Record<string, number>> }).counts;
      };
      for (;;) {
        const counts = await status();
        if (counts['scored'] === 2) break;
        assert.equal(counts['dead-letter'], 0, JSON.stringify(counts));
        await new Promise((done) => setTimeout(done, 200));
      }
      await podman('stop', '--time', '60', name);
      assert.equal((await stateOf(name)).exitCode, 0, await logOf(name));
      assert.match(await logOf(name), /"msg":"stopped"/);
    } finally {
      await server.stop();
    }
  });

  it('refuses settings that it cannot work with, and says why', async () => {
    const name = await start({ inbox: '/var/lib/salad-modality/inbox' });
    await podman('wait', name);
    assert.equal((await stateOf(name)).exitCode, 2);
    assert.match(await logOf(name), /nothing to receive from/);
  });
});

interface Image {
  readonly Size: number;
  readonly Config: { readonly User: string; readonly Labels: Readonly<Record<string, string>> };
}
