/** What is on the disk when an instance is acknowledged: read from the system calls of the gateway. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { needs } from '../../support/dicom-programs.js';
import { type GatewayProcess, startGatewayProcess, writeSettings } from '../../support/gateway-program.js';
import { RawDicom } from '../../support/raw-dicom.js';

/** Manufacturer (0008,0070) with so many bytes of padding behind. */
function dataSet(bytes: number): Buffer {
  return Buffer.concat([Buffer.from('080070004c4f02004142', 'hex'), Buffer.alloc(bytes, 0x20)]);
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

  interface Call {
    readonly name: string;
    readonly text: string;
  }

  /** Completed system calls in the order in which they ended. */
  function callsOf(trace: string): readonly Call[] {
    const unfinished = new Map<string, string>();
    const calls: Call[] = [];
    for (const line of readFileSync(trace, 'latin1').split('\n')) {
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
    return calls;
  }

  it('syncs the file, its folder and the index before it acknowledges', async function () {
    await needs(this, 'strace');
    const trace = join(folder, 'trace');
    const traced = 'fsync,fdatasync,rename,write,writev,pwrite64,sendto,sendmsg';
    // -y prints the path of every file descriptor.
    const strace = ['strace', '-f', '-y', '-s', '16', '-e', `trace=${traced}`, '-o', trace];
    gateway = await startGatewayProcess(writeSettings(folder), strace);
    peer = await RawDicom.connect(gateway.port);
    await peer.associate();
    assert.equal(await peer.store('1.2.3', dataSet(50_000)), 0);
    // strace does not pass signals on to the program.
    const [child] = spawnSync('pgrep', ['-P', String(gateway.process.pid)], {
      encoding: 'utf8',
    }).stdout.split('\n');
    process.kill(Number(child), 'SIGKILL');
    await gateway.stop();

    const calls = callsOf(trace);
    const inbox = join(folder, 'inbox');
    const find = (what: string, test: (call: Call) => boolean, from = 0): number => {
      const at = calls.findIndex((call, index) => index >= from && test(call));
      assert.ok(at >= 0, `${what} is missing`);
      return at;
    };
    const isSync = ({ name }: Call) => name === 'fsync' || name === 'fdatasync';
    const isPart = ({ text }: Call) => text.includes(`<${inbox}/temporary/`);
    let lastWrite = -1;
    for (const [index, call] of calls.entries()) {
      if (/^p?write/.test(call.name) && isPart(call)) lastWrite = index;
    }
    assert.ok(lastWrite >= 0, 'the file was not written');
    const fileSync = find('sync of the file', (call) => isSync(call) && isPart(call), lastWrite);
    const renamed = find(
      'rename',
      ({ name, text }) => name === 'rename' && text.includes('/instances/'),
      fileSync,
    );
    const folderSync = find(
      'sync of the folder',
      (call) => isSync(call) && call.text.includes(`<${inbox}/instances>`),
      renamed,
    );
    const isIndex = ({ text }: Call) => text.includes(`<${inbox}/index.db-wal>`);
    const indexWrite = find(
      'write of the index',
      (call) => call.name === 'pwrite64' && isIndex(call),
      folderSync,
    );
    const indexSync = find('sync of the index', (call) => isSync(call) && isIndex(call), indexWrite);
    // A P-DATA-TF to the peer, the first after the association was accepted (type 2).
    const isSent = (type: string) => (call: Call) =>
      /TCP|socket/.test(call.text) && call.text.includes(`"\\${type}\\0`);
    const accepted = find('answer to the association', isSent('2'));
    const answered = find('answer to the C-STORE', isSent('4'), accepted);
    assert.ok(indexSync < answered, `the index was synced at ${indexSync}, the answer sent at ${answered}`);
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
