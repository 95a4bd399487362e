/** The command `salad-modality`, with a peer on its DICOM port. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import {
  type GatewayProcess,
  modality,
  startGatewayProcess,
  writeSettings,
} from '../support/dicom/gateway-program.js';
import { PDU, RawDicom } from '../support/dicom/raw-dicom.js';
import { eventually } from '../support/eventually.js';

/** In every text that a peer can choose. */
const SECRET = 'ZZTOPSECRET';
const SECRET_UID = '1.2.826.0.1.3680043.99.4711';

/** An element of VR LO, explicit little endian. */
function textElement(tag: string, text: string): Buffer {
  const value = Buffer.from(text.length % 2 === 0 ? text : `${text} `, 'latin1');
  return Buffer.concat([Buffer.from(tag, 'hex'), Buffer.from('LO'), Buffer.from([value.length, 0]), value]);
}

const DATA_SET = Buffer.concat([textElement('08007000', SECRET), textElement('10002000', SECRET)]);

describe('salad-modality', function () {
  this.timeout(60_000);
  let folder: string;
  let settings: string;
  let gateway: GatewayProcess | undefined;
  const peers: RawDicom[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'salad-modality-'));
    settings = writeSettings(folder);
  });
  afterEach(async () => {
    for (const peer of peers.splice(0)) peer.close();
    await gateway?.stop('SIGKILL');
    gateway = undefined;
    rmSync(folder, { recursive: true });
  });

  async function start(): Promise<GatewayProcess> {
    gateway = await startGatewayProcess(settings);
    return gateway;
  }

  async function associated({ port }: GatewayProcess, calling = 'DX1'): Promise<RawDicom> {
    const peer = await RawDicom.connect(port);
    peers.push(peer);
    await peer.associate({ calling });
    return peer;
  }

  it('receives, shows and exports instances, and ends with exit code 0', async () => {
    const running = await start();
    const peer = await associated(running);
    assert.equal(await peer.store('1.2.3', DATA_SET), 0);
    assert.equal(await peer.store('1.2.4', DATA_SET, 1), 0);
    const [status] = (await modality('status', '--config', settings, '--json')).lines;
    assert.deepEqual(status!['counts'], {
      received: 2,
      streaming: 0,
      scored: 0,
      delivered: 0,
      'dead-letter': 0,
    });
    const [shown] = (await modality('show', '1.2.4', '--inbox', join(folder, 'inbox'), '--json')).lines;
    assert.deepEqual([shown!['id'], shown!['priority'], shown!['state']], [2, 'stat', 'received']);
    const out = join(folder, 'out');
    assert.equal((await modality('export', '1', '1.2.4', '--out', out, '--config', settings)).code, 0);
    assert.deepEqual(readdirSync(out).sort(), ['1.dcm', '2.dcm']);
    assert.deepEqual(readFileSync(join(out, '1.dcm')).subarray(-DATA_SET.length), DATA_SET);
    const text = await modality('status', '--config', settings);
    assert.match(text.stdout, /received\s+2/);
    assert.equal(await running.stop(), 0);
    assert.equal((await peer.next())!.type, PDU.abort);
  });

  it('has every acknowledged instance after kill -9 in the middle of another, and nothing else', async () => {
    for (let round = 0; round < 3; round++) {
      const running = await start();
      const peer = await associated(running);
      for (let count = 0; count < 5; count++) {
        assert.equal(await peer.store(`1.2.${round}.${count}`, DATA_SET), 0);
      }
      peer.storeCommand(`1.3.${round}`);
      await running.stop('SIGKILL');
    }
    await start();
    const [status] = (await modality('status', '--config', settings, '--json')).lines;
    assert.equal((status!['counts'] as { received: number }).received, 15);
    assert.equal(readdirSync(join(folder, 'inbox/instances')).length, 15);
    assert.deepEqual(readdirSync(join(folder, 'inbox/temporary')), []);
  });

  it('makes a lost file a dead letter, which can be shown, retried and dropped while it runs', async () => {
    const first = await start();
    await (await associated(first)).store('1.2.3', DATA_SET);
    await first.stop();
    for (const name of readdirSync(join(folder, 'inbox/instances'))) {
      rmSync(join(folder, 'inbox/instances', name));
    }
    await start();
    const text = await modality('status', '--config', settings);
    assert.match(text.stdout, /1\s+its file is missing/);
    assert.deepEqual((await modality('retry', '--dead-letters', '--config', settings, '--json')).lines, [
      { event: 'retried', instance: 1 },
    ]);
    const refused = await modality('drop', '1', '--config', settings);
    assert.deepEqual([refused.code, /is received and is not dropped/.test(refused.stderr)], [2, true]);
    await gateway!.stop();
    await start();
    assert.equal((await modality('drop', '1', '--config', settings)).code, 0);
    assert.equal((await modality('show', '1', '--config', settings)).code, 2);
  });

  it('says what is wrong with its settings, and with wrong usage', async () => {
    const missing = await modality('serve', '--config', join(folder, 'none.yaml'));
    assert.deepEqual([missing.code, /none\.yaml/.test(missing.stderr)], [2, true]);
    const dicom = { listen: '0.0.0.0:11112', callers: [{ aeTitle: 'a\\b' }], callrs: [] };
    const wrong = await modality('serve', '--config', writeSettings(folder, { dicom }));
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /dicom\.callers\.0\.aeTitle/);
    assert.match(wrong.stderr, /callrs/);
    const open = { listen: '0.0.0.0:11112', callers: [{ aeTitle: 'DX1' }] };
    const plain = await modality('serve', '--config', writeSettings(folder, { dicom: open }));
    assert.deepEqual([plain.code, /not loopback/.test(plain.stderr)], [2, true]);
    assert.equal((await modality('status', '--inbox', join(folder, 'none'))).code, 2);
    assert.equal((await modality('retry', '--inbox', join(folder, 'none'))).code, 2);
  });

  it('refuses a second gateway on the same inbox', async () => {
    await start();
    const second = await modality('serve', '--config', settings);
    assert.deepEqual([second.code, /another gateway/.test(second.stderr)], [2, true]);
  });

  it('writes no identifier into its log: of data sets, UIDs, titles, file names or malformed messages', async () => {
    settings = writeSettings(folder, {
      logLevel: 'debug',
      dicom: { listen: '127.0.0.1:0', callers: [{ aeTitle: 'DX1' }] },
      stow: { listen: '127.0.0.1:0' },
      watch: [{ path: 'watched', settleMs: 100, incompleteMs: 100, pollMs: 100 }],
      // Refuses every connection: what is said of failures is logged, too.
      server: { targets: ['127.0.0.1:1'], model: 'small' },
      destinations: [{ name: 'pacs', url: 'http://127.0.0.1:1' }],
    });
    mkdirSync(join(folder, 'watched', SECRET), { recursive: true });
    writeFileSync(join(folder, 'watched', SECRET, `${SECRET}.dcm`), SECRET);
    const running = await start();
    const peer = await associated(running);
    assert.equal(await peer.store(SECRET_UID, DATA_SET), 0);
    assert.equal(await peer.store(SECRET_UID, Buffer.concat([DATA_SET, DATA_SET])), 0x0111);
    assert.equal(await peer.store(SECRET, DATA_SET), 0x0117);
    await associated(running, SECRET);
    const broken = await associated(running);
    broken.send(PDU.data, Buffer.from(`\0\0\0\x14\x01\x03${SECRET}${SECRET}`, 'latin1').subarray(0, 24));
    await broken.next();
    const part = `\r\n--b\r\nContent-Type: application/dicom\r\n\r\n${SECRET}\r\n--b--\r\n`;
    const stowed = await fetch(`http://${running.stow}/studies?name=${SECRET}`, {
      method: 'POST',
      headers: {
        'content-type': 'multipart/related; type="application/dicom"; boundary=b',
        'user-agent': SECRET,
      },
      body: part,
    });
    assert.equal(stowed.status, 409);
    assert.equal((await fetch(`http://${running.stow}/${SECRET}`)).status, 404);
    await eventually(() => {
      assert.match(running.log(), /moved to refused/);
      assert.match(running.log(), /scoring failed/);
    });
    await running.stop();
    const log = running.log();
    assert.match(log, /"outcome":"stored"/);
    assert.match(log, /STOW-RS request refused/);
    assert.match(log, /INSTANCE_CONFLICT/);
    assert.match(log, /callingAeTitle/);
    assert.match(log, /cannot be read/);
    for (const secret of [SECRET, SECRET_UID]) assert.ok(!log.includes(secret), log);
    // Nor into names of files of the inbox.
    const names = readdirSync(join(folder, 'inbox'), { recursive: true }) as string[];
    for (const name of names) assert.ok(!name.includes(SECRET_UID) && !name.includes(SECRET), name);
  });
});
