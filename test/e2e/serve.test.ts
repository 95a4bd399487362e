import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { stringify } from 'yaml';
import { dicomFile, testCells } from '../../bench/support/dicom-file.js';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { makeApiKey } from '../../src/auth/api-keys.js';
import { makeAuthority } from '../support/network/certificates.js';
import { type Finished, salad } from '../support/programs/salad.js';
import { RawConnection } from '../support/protocol/raw-http2.js';
import { root } from '../support/root.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
} from '../support/servers/small-server.js';

describe('salad serve', function () {
  this.timeout(120_000);
  let models: ModelsFolder;
  let folder: string;

  before(async () => {
    models = await smallModels();
    folder = await mkdtemp(join(tmpdir(), 'salad-serve-'));
  });
  after(async () => {
    await models.remove();
    await rm(folder, { recursive: true });
  });

  /** `salad serve` once it is ready, and its log. */
  const start = async (...more: readonly string[]) => {
    const main = [join(root, 'dist/src/main.js'), 'serve', '--listen', '127.0.0.1:0', '--json'];
    const given = ['--models', models.path, '--engine', 'onnx', '--workers', '1', ...more];
    const child = spawn(process.execPath, [...main, ...given], { cwd: root });
    let text = '';
    child.stderr.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    const closed = once(child, 'close');
    const [line] = await once(createInterface({ input: child.stdout }), 'line');
    return {
      address: String(JSON.parse(line).address),
      signal: (signal: NodeJS.Signals) => child.kill(signal),
      /** Exit code after SIGTERM. */
      async stop() {
        child.kill('SIGTERM');
        return (await closed)[0];
      },
      /** Fails where a line is not JSON. */
      log: () =>
        text
          .trim()
          .split('\n')
          .map((each) => JSON.parse(each) as Record<string, unknown>),
    };
  };
  const assertOneLine = ({ code, stderr }: Finished, expected: RegExp) => {
    assert.equal(code, 1, stderr);
    assert.match(stderr, expected);
    assert.equal(stderr.trim().split('\n').length, 1, stderr);
  };

  it('logs in JSON only: ready with TLS and identities, draining, stopped', async () => {
    const own = await (await makeAuthority()).issue({ commonName: 'salad.example' });
    const place = (name: string) => join(folder, name);
    await writeFile(place('a.pem'), own.certificate);
    await writeFile(place('a.key'), own.privateKey);
    const { entry } = makeApiKey({ name: 'detector', scopes: ['score'] });
    await writeFile(place('keys.yaml'), stringify({ keys: [entry] }));
    const settings = {
      tlsCertFile: place('a.pem'),
      tlsKeyFile: place('a.key'),
      authApiKeysFile: place('keys.yaml'),
    };
    const { address, stop, log } = await start(
      ...Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
    );
    assert.equal(await stop(), 0);
    const [ready, ...others] = log().filter(({ msg }) => msg === 'ready');
    assert.deepEqual(others, []);
    assert.deepEqual(
      [ready?.['address'], ready?.['engine'], ready?.['models'], ready?.['auth'], ready?.['admin']],
      [address, 'onnx', ['small@1'], 'API keys', false],
    );
    assert.match(String(ready?.['tls']), /^certificate of CN=salad\.example, valid until /);
    assert.deepEqual(
      log()
        .map(({ msg }) => msg)
        .slice(-2),
      ['draining; a second signal exits at once', 'stopped'],
    );
  });

  it('reports where TLS and identities are off', async () => {
    const { stop, log } = await start();
    await stop();
    const ready = log().find(({ msg }) => msg === 'ready');
    assert.deepEqual([ready?.['tls'], ready?.['auth']], ['off', 'none']);
  });

  it('ends at a signal although a frozen client holds a connection', async () => {
    const { address, stop } = await start();
    const options = { keepsHalfOpen: true, answersPings: false };
    const frozen = await RawConnection.connect(address, options);
    const silent = await RawConnection.open(address, options);
    frozen.socket.pause();
    assert.equal(await stop(), 0);
    for (const { socket } of [frozen, silent]) socket.destroy();
  });

  it('exits with 0 at SIGTERM after it decoded a DICOM file', async () => {
    const { address, stop } = await start();
    const file = join(folder, 'image.dcm');
    const image = { rows: 96, columns: 96, cells: testCells(96, 96, 12), bitsStored: 12 };
    await writeFile(file, await dicomFile({ ...image, syntax: 'jpeg2000Lossless' }));
    const flags = ['--target', address, '--model', 'small', '--send-dicom', '--json'];
    const { code, stderr } = await salad('score', file, ...flags);
    assert.equal(code, 0, stderr);
    assert.equal(await stop(), 0);
  });

  it('does not take a client for silent that sent while the server was paused', async () => {
    const times = { headerTimeoutMs: 500, idleTimeoutMs: 500, keepaliveMs: 200, keepaliveTimeoutMs: 500 };
    const { address, stop, signal } = await start(
      ...Object.entries(times).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
    );
    const client = new SaladClient(address, { retry: false });
    const chunks = smallRows(smallImage(1));
    try {
      await client.listModels();
      const results = ['begun', 'new'].map((id) =>
        client.scoreAcquisition(smallHeader(id), async function* () {
          yield* chunks.slice(0, 4);
          if (id === 'begun') signal('SIGSTOP');
          // The time that the kernel needs to take the messages, while the server is stopped.
          await sleep(50);
          yield* chunks.slice(4);
        }),
      );
      await sleep(2000);
      signal('SIGCONT');
      for (const { coverage } of await Promise.all(results)) assert.equal(coverage?.scored, 64);
    } finally {
      client.close();
      signal('SIGCONT');
      await stop();
    }
  });

  it('reports in one line, at once, that an address is in use', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const address = `127.0.0.1:${(taken.address() as { port: number }).port}`;
    // Were the models looked at first, the line would be about them.
    const nowhere = ['--models', join(folder, 'nowhere')];
    try {
      assertOneLine(
        await salad('serve', ...nowhere, '--listen', address),
        /^salad: listen [\d.:]+: the address is in use$/m,
      );
      for (const setting of ['healthListen', 'metricsListen']) {
        const run = await salad(
          'serve',
          ...nowhere,
          '--listen',
          '127.0.0.1:0',
          '--set',
          `${setting}=${address}`,
        );
        assertOneLine(run, new RegExp(`^salad: ${setting} [\\d.:]+: the address is in use$`, 'm'));
      }
      assertOneLine(
        await salad('serve', ...nowhere, '--listen', '192.0.2.1:50051', '--set', 'allowPlaintext=true'),
        /this machine has no such address/,
      );
    } finally {
      taken.close();
    }
  });

  it('reports in one line that it may open too few files', async () => {
    const child = spawn(
      'bash',
      ['-c', 'ulimit -n 100 && exec "$0" dist/src/main.js serve', process.execPath],
      {
        cwd: root,
      },
    );
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (part: string) => {
      stderr += part;
    });
    const [code] = await once(child, 'close');
    assertOneLine(
      { code: code as number, stdout: '', stderr, lines: [] },
      /^salad: the limit of open files is 100, at least 256 are needed/,
    );
  });
});
