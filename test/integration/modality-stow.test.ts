/** STOW-RS into the gateway. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { dicomFile, testCells } from '../../bench/support/dicom-file.js';
import { Inbox, pathOf } from '../../clients/modality/src/inbox/inbox.js';
import { StowPort } from '../../clients/modality/src/stow/stow-port.js';
import { eventually } from '../support/eventually.js';

const BOUNDARY = 'part boundary';
const TYPE = `multipart/related; type="application/dicom"; boundary="${BOUNDARY}"`;
const DX = '1.2.840.10008.5.1.4.1.1.1.1';

describe('STOW-RS into the gateway', function () {
  this.timeout(20_000);
  let root: string;
  let inbox: Inbox;
  let port: StowPort;
  let freeBytes: number;
  let token: string | undefined;

  async function start(): Promise<void> {
    inbox = await Inbox.open(join(root, 'inbox'), {
      keepFreeBytes: 1000,
      instanceBytesMax: 2 ** 20,
      readDiskSpace: async () => ({ freeBytes }),
    });
    port = await StowPort.listen({
      ...{ inbox, host: '127.0.0.1', port: 0, priority: 'routine', token },
      ...{ connectionsMax: 4, dataMs: 10_000, events: { stowed() {}, requestRefused() {} } },
    });
  }

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'salad-stow-'));
    freeBytes = 1e9;
    token = undefined;
  });
  afterEach(async () => {
    await port.close(100);
    inbox.close();
    rmSync(root, { recursive: true });
  });

  const image = { rows: 40, columns: 48, cells: testCells(40, 48, 12), bitsStored: 12 };
  const fileOf = (uid: string, seed = 0) =>
    dicomFile({
      ...image,
      cells: image.cells.map((cell) => cell ^ seed),
      elements: { '00080016 UI': DX, '00080018 UI': uid },
    });

  function bodyOf(files: readonly Uint8Array[], head = 'Content-Type: application/dicom'): Buffer {
    const parts = files.flatMap((file) => [
      Buffer.from(`\r\n--${BOUNDARY}\r\n${head === '' ? '' : `${head}\r\n`}\r\n`),
      file,
    ]);
    return Buffer.concat([...parts, Buffer.from(`\r\n--${BOUNDARY}--\r\n`)]);
  }

  async function post(body: Uint8Array, headers: Record<string, string> = {}, path = '/studies') {
    const response = await fetch(`http://127.0.0.1:${port.port}${path}`, {
      method: 'POST',
      headers: { 'content-type': TYPE, ...headers },
      body,
    });
    const text = await response.text();
    const json =
      text === '' ? {} : (JSON.parse(text) as Record<string, { Value: Record<string, unknown>[] }>);
    return { status: response.status, json, headers: response.headers };
  }

  const uid = (text: string) => ({ vr: 'UI', Value: [text] });

  it('keeps the instances of a request and names them', async () => {
    await start();
    const files = [await fileOf('1.2.3'), await fileOf('1.2.4')];
    const { status, json, headers } = await post(bodyOf(files));
    assert.equal(status, 200);
    assert.match(headers.get('content-type')!, /application\/dicom\+json/);
    assert.deepEqual(json['00081199']!.Value, [
      { '00081150': uid(DX), '00081155': uid('1.2.3') },
      { '00081150': uid(DX), '00081155': uid('1.2.4') },
    ]);
    const kept = inbox.index.list();
    assert.equal(kept.length, 2);
    const bytes = readFileSync(pathOf(inbox.folders, kept[0]!));
    assert.deepEqual(bytes.subarray(-1000), Buffer.from(files[0]!).subarray(-1000));
    assert.equal((await post(bodyOf(files, ''), {}, '/dicom-web/studies')).status, 200);
    assert.equal(inbox.index.list().length, 2);
  });

  it('finds boundaries wherever a packet ends, and data that looks like one', async () => {
    await start();
    const file = await fileOf('1.2.3');
    const tricky = Buffer.concat([file.slice(0, -200), Buffer.from(`\r\n--part boundarx`), file.slice(-182)]);
    const body = bodyOf([tricky, await fileOf('1.2.4')]);
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(port.port, '127.0.0.1');
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
      });
      socket.on('close', () => resolve(text));
      const head = `POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: ${TYPE}\r\nConnection: close\r\n`;
      socket.write(`${head}Content-Length: ${body.length}\r\n\r\n`);
      socket.setNoDelay(true);
      for (let at = 0; at < body.length; at += 7) socket.write(body.subarray(at, at + 7));
    });
    assert.match(answer, /^HTTP\/1\.1 200/);
    const [first] = inbox.index.list();
    assert.deepEqual(readFileSync(pathOf(inbox.folders, first!)).subarray(-1000), tricky.subarray(-1000));
  });

  it('answers for every part by itself: conflict, unreadable, too large, of another type', async () => {
    await start();
    const first = await fileOf('1.2.3');
    assert.equal((await post(bodyOf([first]))).status, 200);
    const large = Buffer.concat([await fileOf('1.2.9'), Buffer.alloc(2 ** 20)]);
    const parts = [await fileOf('1.2.3', 1), Buffer.from('no DICOM'), large, await fileOf('1.2.4')];
    const { status, json } = await post(bodyOf(parts));
    assert.equal(status, 202);
    assert.deepEqual(
      json['00081198']!.Value.map((item) => (item['00081197'] as { Value: number[] }).Value[0]),
      [0x0111, 0xc000, 0xa700],
    );
    assert.equal(json['00081199']!.Value.length, 1);
    const other = await post(bodyOf([await fileOf('1.2.5')], 'Content-Type: image/png'));
    assert.equal(other.status, 409);
    assert.equal(inbox.index.list().length, 2);
    assert.deepEqual(readdirSync(inbox.folders.temporary), []);
  });

  it('answers 507 before it reads anything while the disk is full', async () => {
    await start();
    freeBytes = 10;
    const { status, headers } = await post(bodyOf([await fileOf('1.2.3')]));
    assert.deepEqual([status, headers.get('retry-after')], [507, '60']);
    freeBytes = 1e9;
    assert.equal((await post(bodyOf([await fileOf('1.2.3')]))).status, 200);
  });

  it('keeps complete parts of a body that breaks off, and nothing of the part that does', async () => {
    await start();
    const body = bodyOf([await fileOf('1.2.3'), await fileOf('1.2.4')]);
    assert.equal((await post(body.subarray(0, -500))).status, 400);
    const socket = connect(port.port, '127.0.0.1');
    socket.write(
      `POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: ${TYPE}\r\nContent-Length: 999999\r\n\r\n`,
    );
    socket.write(body.subarray(0, 3000));
    await eventually(() => assert.equal(inbox.receiving, 0));
    socket.destroy();
    await eventually(() => assert.deepEqual(readdirSync(inbox.folders.temporary), []));
    assert.deepEqual(
      inbox.index.list().map(({ sopInstanceUid }) => sopInstanceUid),
      ['1.2.3'],
    );
  });

  it('refuses other paths, methods and types, and requests without the token', async () => {
    token = 'right';
    await start();
    const body = bodyOf([await fileOf('1.2.3')]);
    const right = { authorization: 'Bearer right' };
    assert.equal((await post(body)).status, 401);
    assert.equal((await post(body, { authorization: 'Bearer wrong' })).status, 401);
    assert.equal((await post(body, right, '/instances')).status, 404);
    assert.equal((await post(body, { ...right, 'content-type': 'application/dicom' })).status, 415);
    const get = await fetch(`http://127.0.0.1:${port.port}/studies`, { headers: right });
    assert.equal(get.status, 405);
    assert.equal((await post(Buffer.from(`--${BOUNDARY}--`), right)).status, 400);
    assert.equal((await post(body, right)).status, 200);
  });
});
