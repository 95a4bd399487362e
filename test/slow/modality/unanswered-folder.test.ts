/**
 * Watched folders on volumes that do not answer: FUSE file systems without a program behind them, on which every call
 * waits, as on a hard NFS mount whose server is away.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, before, beforeEach, describe, it } from 'mocha';
import { dicomFile, testCells } from '../../../bench/support/dicom-file.js';
import { freePort } from '../../../bench/support/free-port.js';
import {
  type GatewayProcess,
  startGatewayProcess,
  writeSettings,
} from '../../support/dicom/gateway-program.js';
import { RawDicom } from '../../support/dicom/raw-dicom.js';
import { eventually } from '../../support/eventually.js';

/** As many as Node has threads for files. */
const FOLDERS = ['a', 'b', 'c', 'd'];
/** Longer than the time limit for an answer, which is 30 s. */
const UNREADABLE_MS = 60_000;
/** (0010,0020) LO, explicit little endian. */
const DATA_SET = Buffer.from('\x10\0\x20\0LO\x04\0P-17', 'latin1');

describe('watched folders that do not answer', function () {
  this.timeout(180_000);
  let root: string;
  let port: number;
  let settings: string;
  let gateway: GatewayProcess | undefined;
  let peer: RawDicom | undefined;
  /** Of the volumes that do not answer: where, and the connection to the kernel. */
  const volumes = new Map<string, number>();

  before(function () {
    // A kernel without FUSE: nothing that this test could install.
    if (!existsSync('/dev/fuse')) this.skip();
  });
  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'salad-unanswered-'));
    for (const name of FOLDERS) mkdirSync(join(root, name));
    port = await freePort();
    settings = writeSettings(root, {
      dicom: { listen: `127.0.0.1:${port}`, callers: [{ aeTitle: 'DX1' }] },
      operations: { listen: '127.0.0.1:0' },
      watch: FOLDERS.map((path) => ({ path, settleMs: 100, pollMs: 100 })),
    });
  });
  afterEach(async () => {
    peer?.close();
    answerAgain();
    await gateway?.stop('SIGKILL');
    gateway = undefined;
    rmSync(root, { recursive: true });
  });

  /** @returns whether this machine can mount such volumes */
  function mountSilent(): boolean {
    for (const name of FOLDERS) {
      const path = join(root, name);
      const connection = openSync('/dev/fuse', 'r+');
      const options = 'fd=3,rootmode=40000,user_id=0,group_id=0';
      const { status } = spawnSync('mount', ['-i', '-t', 'fuse', '-o', options, 'silent', path], {
        stdio: ['ignore', 'ignore', 'ignore', connection],
      });
      if (status === 0) volumes.set(path, connection);
      else closeSync(connection);
    }
    return volumes.size === FOLDERS.length;
  }

  /** Without their connections the calls fail, and the volumes can be unmounted. */
  function answerAgain(): void {
    for (const connection of volumes.values()) closeSync(connection);
    for (const path of volumes.keys()) spawnSync('umount', ['-l', path]);
    volumes.clear();
  }

  const ask = async (path: string) => {
    const response = await fetch(`http://${gateway!.operations}${path}`);
    return { status: response.status, text: await response.text() };
  };
  const untilReady = (status: number) =>
    eventually(async () => assert.equal((await ask('/readyz')).status, status), UNREADABLE_MS);

  async function store(uid: string): Promise<void> {
    peer = await RawDicom.connect(port);
    await peer.associate();
    assert.equal(await peer.store(uid, DATA_SET), 0);
    peer.close();
  }

  it('make the gateway not ready, which goes on with C-STORE, and takes their files when they answer', async function () {
    gateway = await startGatewayProcess(settings);
    await untilReady(200);
    if (!mountSilent()) return skipUnlessCi(this);
    await untilReady(503);
    const { text } = await ask('/readyz');
    assert.match(text, /^the watched folder \S+ waits: (its file system does|the file systems of other)/);
    await eventually(async () =>
      assert.match((await ask('/metrics')).text, /^salad_modality_watch_unreadable\{[^}]*\} 4$/m),
    );
    await store('1.2.3');
    answerAgain();
    const image = { rows: 40, columns: 48, cells: testCells(40, 48, 12), bitsStored: 12 };
    writeFileSync(join(root, 'a/image.dcm'), await dicomFile(image));
    await untilReady(200);
    await eventually(() => assert.deepEqual(readdirSync(join(root, 'a')), ['refused']));
    assert.equal(readdirSync(join(root, 'inbox/instances')).length, 2);
  });

  it('hold up neither the start nor the end of the gateway', async function () {
    if (!mountSilent()) return skipUnlessCi(this);
    let isReady = false;
    const started = startGatewayProcess(settings).finally(() => {
      isReady = true;
    });
    // The port is open before it is known whether the folders answer.
    await eventually(() => store('1.2.3'));
    assert.equal(isReady, false);
    gateway = await started;
    await untilReady(503);
    assert.equal(await gateway.stop(), 0);
  });
});

/** In CI the machine must be able to run the test. */
function skipUnlessCi(test: Mocha.Context): void {
  if (process.env['CI'] === undefined) test.skip();
  assert.fail('FUSE file systems cannot be mounted');
}
