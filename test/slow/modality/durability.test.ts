/** What is on the disk when an instance is acknowledged: read from the system calls of the gateway. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { dicomFile, testCells } from '../../../bench/support/dicom-file.js';
import { needs } from '../../support/dicom/dicom-programs.js';
import {
  type GatewayProcess,
  startGatewayProcess,
  writeSettings,
} from '../../support/dicom/gateway-program.js';
import { DX_CLASS, RawDicom } from '../../support/dicom/raw-dicom.js';
import { eventually } from '../../support/eventually.js';

/** Manufacturer (0008,0070) with so many bytes of padding behind. */
function dataSet(bytes: number): Buffer {
  return Buffer.concat([Buffer.from('080070004c4f02004142', 'hex'), Buffer.alloc(bytes, 0x20)]);
}

interface Call {
  readonly name: string;
  readonly text: string;
}

const isSync = ({ name }: Call) => name === 'fsync' || name === 'fdatasync';

/** Completed system calls in the order in which they ended. */
class Trace {
  private readonly calls: readonly Call[];

  /** @param file written by strace */
  constructor(file: string) {
    const unfinished = new Map<string, string>();
    const calls: Call[] = [];
    for (const line of readFileSync(file, 'latin1').split('\n')) {
      const [, thread, rest] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
      if (thread === undefined || rest === undefined) continue;
      const begun = /^(.*) <unfinished \.\.\.>$/.exec(rest);
      if (begun) {
        unfinished.set(thread, begun[1]!);
        continue;
      }
      const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
      const text = resumed ? `${unfinished.get(thread) ?? ''}${resumed[1]}` : rest;
      const name = /^(\w+)\(/.exec(text)?.[1];
      if (name !== undefined) calls.push({ name, text });
    }
    this.calls = calls;
  }

  /** @returns the place of the first such call from `from` on */
  find(what: string, test: (call: Call) => boolean, from = 0): number {
    const at = this.calls.findIndex((call, index) => index >= from && test(call));
    assert.ok(at >= 0, `${what} is missing`);
    return at;
  }

  last(what: string, test: (call: Call) => boolean): number {
    const at = this.calls.findLastIndex(test);
    assert.ok(at >= 0, `${what} is missing`);
    return at;
  }
}

function assertBefore(synced: number, told: number): void {
  assert.ok(synced < told, `the index was synced at ${synced}, the sender was told at ${told}`);
}

/** A DICOM file. */
function image(sopInstanceUid: string): Promise<Uint8Array> {
  const elements = { '00080016 UI': DX_CLASS, '00080018 UI': sopInstanceUid };
  return dicomFile({ rows: 100, columns: 100, cells: testCells(100, 100, 12), bitsStored: 12, elements });
}

describe('durability of the gateway', function () {
  this.timeout(120_000);
  let folder: string;
  let gateway: GatewayProcess | undefined;
  let peer: RawDicom | undefined;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'salad-durability-'));
  });
  afterEach(async () => {
    peer?.close();
    await gateway?.stop('SIGKILL');
    rmSync(folder, { recursive: true });
  });

  /** Starts the gateway under strace. @returns ends both and reads the calls */
  async function traced(settings: Readonly<Record<string, unknown>> = {}): Promise<() => Promise<Trace>> {
    const file = join(folder, 'trace');
    const names = 'fsync,fdatasync,rename,unlink,write,writev,pwrite64,sendto,sendmsg';
    // -y prints the path of every file descriptor.
    const strace = ['strace', '-f', '-y', '-s', '16', '-e', `trace=${names}`, '-o', file];
    gateway = await startGatewayProcess(writeSettings(folder, settings), strace);
    const started = gateway;
    return async () => {
      // strace does not pass signals on to the program.
      const children = spawnSync('pgrep', ['-P', String(started.process.pid)], { encoding: 'utf8' });
      process.kill(Number(children.stdout.split('\n')[0]), 'SIGKILL');
      await started.stop();
      return new Trace(file);
    };
  }

  /** @returns where the index was synced with the only instance, after the file and its folder were */
  function instanceSynced(trace: Trace): number {
    const inbox = join(folder, 'inbox');
    const isPart = ({ text }: Call) => text.includes(`<${inbox}/temporary/`);
    const lastWrite = trace.last('write of the file', (call) => /^p?write/.test(call.name) && isPart(call));
    const fileSync = trace.find('sync of the file', (call) => isSync(call) && isPart(call), lastWrite);
    const isRename = ({ name, text }: Call) => name === 'rename' && text.includes('/instances/');
    const renamed = trace.find('rename', isRename, fileSync);
    const isFolder = ({ text }: Call) => text.includes(`<${inbox}/instances>`);
    const folderSync = trace.find('sync of the folder', (call) => isSync(call) && isFolder(call), renamed);
    const isIndex = ({ text }: Call) => text.includes(`<${inbox}/index.db-wal>`);
    const isIndexWrite = (call: Call) => call.name === 'pwrite64' && isIndex(call);
    const indexWrite = trace.find('write of the index', isIndexWrite, folderSync);
    return trace.find('sync of the index', (call) => isSync(call) && isIndex(call), indexWrite);
  }

  const isSentToPeer = (begin: string) => (call: Call) =>
    /TCP|socket/.test(call.text) && call.text.includes(`"${begin}`);

  it('syncs the file, its folder and the index before it answers a C-STORE', async function () {
    await needs(this, 'strace');
    const end = await traced();
    peer = await RawDicom.connect(gateway!.port);
    await peer.associate();
    assert.equal(await peer.store('1.2.3', dataSet(50_000)), 0);
    const trace = await end();
    // A P-DATA-TF to the peer, the first after the association was accepted (type 2).
    const accepted = trace.find('answer to the association', isSentToPeer('\\2\\0'));
    const answered = trace.find('answer to the C-STORE', isSentToPeer('\\4\\0'), accepted);
    assertBefore(instanceSynced(trace), answered);
  });

  it('syncs them before it answers a STOW-RS request', async function () {
    await needs(this, 'strace');
    const end = await traced({ stow: { listen: '127.0.0.1:0' } });
    const head = '\r\n--b\r\nContent-Type: application/dicom\r\n\r\n';
    const body = Buffer.concat([Buffer.from(head), await image('1.2.3'), Buffer.from('\r\n--b--\r\n')]);
    const response = await fetch(`http://${gateway!.stow}/studies`, {
      method: 'POST',
      headers: { 'content-type': 'multipart/related; type="application/dicom"; boundary=b' },
      body,
    });
    assert.equal(response.status, 200);
    const trace = await end();
    assertBefore(instanceSynced(trace), trace.find('answer', isSentToPeer('HTTP/1.1 200')));
  });

  it('syncs them before it removes a file from a watched folder', async function () {
    await needs(this, 'strace');
    const watched = join(folder, 'watched');
    const end = await traced({ watch: [{ path: 'watched', settleMs: 100, pollMs: 100 }] });
    writeFileSync(join(watched, 'a.dcm'), await image('1.2.3'));
    await eventually(() => assert.deepEqual(readdirSync(watched), ['refused']));
    const trace = await end();
    const removed = trace.find(
      'removal of the watched file',
      ({ name, text }) => name === 'unlink' && text.includes(`"${watched}/`),
    );
    assertBefore(instanceSynced(trace), removed);
    assert.equal(readdirSync(join(folder, 'inbox/instances')).length, 1);
  });

  describe('on a disk of 40 MB', () => {
    let disk: string;
    let isMounted = false;

    beforeEach(function () {
      disk = join(folder, 'inbox');
      mkdirSync(disk);
      const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'none', disk]);
      isMounted = status === 0;
      if (!isMounted && process.env['CI'] === undefined) this.skip();
    });
    afterEach(async () => {
      await gateway?.stop('SIGKILL');
      if (isMounted) spawnSync('umount', [disk]);
    });

    /** Sends instances of 1 MB until `count` were sent. @returns the UIDs that were acknowledged, and other statuses */
    async function fill(port: number, count: number) {
      peer = await RawDicom.connect(port);
      await peer.associate();
      const acknowledged: string[] = [];
      const statuses = new Set<number | undefined>();
      for (let index = 0; index < count; index++) {
        const status = await peer.store(`1.2.${index}`, dataSet(1_000_000));
        if (status === 0) acknowledged.push(`1.2.${index}`);
        else statuses.add(status);
      }
      return { acknowledged, statuses: [...statuses] };
    }

    for (const [name, keepFreeMib] of [
      ['refuses before the disk is full', 4],
      ['acknowledges nothing short where the disk is full although the settings kept nothing free', 1],
    ] as const) {
      it(`${name}, and lives on`, async () => {
        gateway = await startGatewayProcess(writeSettings(folder, { keepFreeMib }));
        if (keepFreeMib === 1) {
          // Another program takes what was kept free, while an instance is received.
          spawnSync('dd', ['if=/dev/zero', `of=${join(disk, 'other')}`, 'bs=1M', 'count=25']);
        }
        const { acknowledged, statuses } = await fill(gateway.port, 45);
        assert.deepEqual(statuses, [0xa700]);
        assert.ok(acknowledged.length > 8, `only ${acknowledged.length} were acknowledged`);
        const kept = readdirSync(join(disk, 'instances'));
        assert.equal(kept.length, acknowledged.length);
        for (const file of kept) assert.ok(statSync(join(disk, 'instances', file)).size > 1_000_000);
        // Space comes back: the gateway takes instances again on the same association.
        rmSync(join(disk, 'other'), { force: true });
        for (const file of kept.slice(0, 8)) rmSync(join(disk, 'instances', file));
        assert.equal(await peer!.store('1.3.1', dataSet(1_000_000)), 0);
      });
    }

    it('acknowledges nothing short where a write fails in the middle of an instance', async () => {
      gateway = await startGatewayProcess(writeSettings(folder));
      peer = await RawDicom.connect(gateway.port);
      await peer.associate();
      assert.equal(await peer.store('1.2.1', dataSet(1_000_000)), 0);
      // 45 MB do not fit, and free space is only read every 8 MiB.
      assert.equal(await peer.store('1.2.2', dataSet(45_000_000)), 0xa700);
      assert.equal(await peer.store('1.2.3', dataSet(1_000_000)), 0);
      assert.equal(readdirSync(join(disk, 'instances')).length, 2);
      assert.deepEqual(readdirSync(join(disk, 'temporary')), []);
    });
  });

  it('answers what it could not keep because its folder is gone with a failure, and nothing as success', async () => {
    gateway = await startGatewayProcess(writeSettings(folder));
    peer = await RawDicom.connect(gateway.port);
    await peer.associate();
    rmSync(join(folder, 'inbox/temporary'), { recursive: true });
    assert.equal(await peer.store('1.2.1', dataSet(1000)), 0x0110);
    mkdirSync(join(folder, 'inbox/temporary'));
    assert.equal(await peer.store('1.2.1', dataSet(1000)), 0);
  });
});
