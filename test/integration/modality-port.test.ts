/** The DICOM port against peers that behave, that break off, and that attack. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect as connectTls } from 'node:tls';
import { afterEach, describe, it } from 'mocha';
import { pathOf } from '../../clients/modality/src/inbox/inbox.js';
import {
  type GatewayPort,
  type GatewayPortOptions,
  startGatewayPort,
} from '../support/dicom/gateway-port.js';
import { commandSet, DX_CLASS, fragment, PDU, pduBytesMaxOf, RawDicom } from '../support/dicom/raw-dicom.js';
import { eventually } from '../support/eventually.js';
import { makeAuthority } from '../support/network/certificates.js';

/** Manufacturer (0008,0070) with so many bytes of padding behind. */
function dataSet(bytes = 0): Buffer {
  return Buffer.concat([Buffer.from('080070004c4f02004142', 'hex'), Buffer.alloc(bytes, 0x20)]);
}

describe('DICOM port', function () {
  this.timeout(20_000);
  let gateway: GatewayPort;
  const peers: RawDicom[] = [];

  afterEach(async () => {
    for (const peer of peers.splice(0)) peer.close();
    await gateway.close();
  });

  async function start(options: GatewayPortOptions = {}): Promise<void> {
    gateway = await startGatewayPort(options);
  }

  async function connect(): Promise<RawDicom> {
    const peer = await RawDicom.connect(gateway.port.port);
    peers.push(peer);
    return peer;
  }

  async function associated(): Promise<RawDicom> {
    const peer = await connect();
    assert.equal((await peer.associate())!.type, PDU.associateAc);
    return peer;
  }

  /** The association ends by an abort and with this event, and others work. */
  async function assertAborted(peer: RawDicom, event: string): Promise<void> {
    const pdu = await peer.next();
    if (pdu !== undefined) {
      assert.equal(pdu.type, PDU.abort);
      assert.equal(await peer.next(), undefined);
    }
    assert.ok(gateway.events.includes(`aborted ${event}`), gateway.events.join('\n'));
    assert.equal(await (await associated()).store('1.2.99', dataSet()), 0);
  }

  it('keeps instances and answers echoes in any order on one association', async () => {
    await start();
    const peer = await associated();
    for (let round = 1; round <= 3; round++) {
      assert.equal(await peer.echo(), 0);
      assert.equal(await peer.echo(), 0);
      assert.equal(await peer.store(`1.2.${round}`, dataSet(100_000)), 0);
    }
    peer.send(PDU.release, Buffer.alloc(4));
    assert.equal((await peer.next())!.type, PDU.releaseRp);
    assert.equal(await peer.next(), undefined);
    const [first] = gateway.inbox.index.list();
    const kept = readFileSync(pathOf(gateway.inbox.folders, first!));
    assert.deepEqual(kept.subarray(-100_010), dataSet(100_000));
    assert.equal(gateway.inbox.index.list().length, 3);
  });

  it('sends what has high priority first', async () => {
    await start();
    const peer = await associated();
    await peer.store('1.2.1', dataSet());
    await peer.store('1.2.2', dataSet(), 1);
    assert.equal(gateway.inbox.index.takeNext()!.sopInstanceUid, '1.2.2');
  });

  it('takes a command and its data set in one PDU', async () => {
    await start();
    const peer = await associated();
    const command = commandSet({ field: 1, sopClass: DX_CLASS, sopInstance: '1.2.3', hasDataSet: true });
    peer.sendFragments(fragment(1, command, 'command'), fragment(1, dataSet(), 'data'));
    assert.equal((await peer.next())!.type, PDU.data);
    assert.equal(gateway.inbox.index.list().length, 1);
  });

  it('offers its own bound of a PDU, one operation at a time', async () => {
    await start();
    for (const pduBytesMax of [0, 4096, 1_000_000]) {
      const answer = await (await connect()).associate({ pduBytesMax, asyncOperations: 8 });
      assert.equal(pduBytesMaxOf(answer!), 128 * 1024);
      assert.equal(answer!.body.indexOf(Buffer.from('53000004', 'hex')), -1);
    }
  });

  it('answers two pipelined operations one after the other', async () => {
    await start();
    const peer = await associated();
    const stored = [peer.store('1.2.1', dataSet()), peer.store('1.2.2', dataSet())];
    assert.deepEqual(await Promise.all(stored), [0, 0]);
  });

  it('keeps nothing of an instance that breaks off', async () => {
    await start();
    const peer = await associated();
    peer.storeCommand('1.2.3');
    peer.sendFragments(fragment(1, dataSet(10_000), 'data', false));
    await eventually(() => assert.equal(readdirSync(gateway.inbox.folders.temporary).length, 1));
    peer.close();
    await eventually(() => assert.equal(readdirSync(gateway.inbox.folders.temporary).length, 0));
    assert.deepEqual(gateway.inbox.index.list(), []);
    assert.equal(gateway.inbox.receiving, 0);
    assert.equal(await (await associated()).store('1.2.3', dataSet()), 0);
  });

  it('refuses a PDU larger than it offered before it has read it', async () => {
    await start();
    const peer = await associated();
    peer.socket.write(Buffer.from('04007fffffff', 'hex'));
    await assertAborted(peer, 'a PDU of 2147483647 bytes');
  });

  it('refuses data before an association, a second association, and unknown PDUs', async () => {
    await start();
    const early = await connect();
    early.sendFragments(fragment(1, dataSet(), 'data'));
    await assertAborted(early, 'data without an association');
    const twice = await associated();
    void twice.associate();
    await assertAborted(twice, 'a second association request');
    const http = await connect();
    http.socket.write('GET / HTTP/1.1\r\n\r\n');
    await assertAborted(http, 'a PDU of type 71');
  });

  it('refuses data without a command, a command within data, and endless commands', async () => {
    await start();
    const stray = await associated();
    stray.sendFragments(fragment(1, dataSet(), 'data'));
    await assertAborted(stray, 'a data set without a C-STORE command');
    const mixed = await associated();
    mixed.storeCommand('1.2.3');
    mixed.storeCommand('1.2.4');
    await assertAborted(mixed, 'a command within a data set');
    const endless = await associated();
    for (let count = 0; count < 3; count++) {
      endless.sendFragments(fragment(1, Buffer.alloc(8000), 'command', false));
    }
    await assertAborted(endless, 'a command set that is too long');
  });

  it('refuses fragments whose lengths are wrong, and commands that cannot be read', async () => {
    await start();
    const long = await associated();
    long.send(PDU.data, Buffer.from('0000ffff0103', 'hex'));
    await assertAborted(long, 'a fragment of 65535 bytes');
    const unreadable = await associated();
    unreadable.sendFragments(fragment(1, Buffer.from('00000000ffffffff', 'hex'), 'command'));
    await assertAborted(unreadable, 'a message that cannot be read');
    const unknown = await associated();
    unknown.sendFragments(fragment(77, dataSet(), 'command'));
    await assertAborted(unknown, 'a message that cannot be read');
  });

  it('refuses other operations', async () => {
    await start();
    const peer = await associated();
    peer.sendFragments(fragment(1, commandSet({ field: 0x20, sopClass: DX_CLASS }), 'command'));
    await assertAborted(peer, 'an operation other than C-ECHO and C-STORE');
  });

  it('refuses instances without a valid UID or of another class than negotiated', async () => {
    await start();
    const peer = await associated();
    assert.equal(await peer.store('../etc', dataSet()), 0x0117);
    const command = { field: 1, sopClass: '1.2.840.10008.5.1.4.1.1.1', sopInstance: '1.2', hasDataSet: true };
    peer.sendFragments(fragment(1, commandSet(command), 'command'), fragment(1, dataSet(), 'data'));
    assert.equal((await peer.next())!.type, PDU.data);
    assert.deepEqual(gateway.inbox.index.list(), []);
  });

  it('ends what is silent: connections, transfers and idle associations, each in its time', async () => {
    await start({ port: { associationMs: 150, dataMs: 150, idleMs: 600 } });
    await assertAborted(await connect(), 'no association in time');
    const stopped = await associated();
    stopped.storeCommand('1.2.3');
    stopped.sendFragments(fragment(1, dataSet(), 'data', false));
    await assertAborted(stopped, 'a transfer that stopped');
    const idle = await associated();
    const began = performance.now();
    await assertAborted(idle, 'no operation for too long');
    assert.ok(performance.now() - began > 500);
    assert.equal(gateway.inbox.receiving, 0);
  });

  it('refuses associations beyond its limit for now, and accepts them later', async () => {
    await start({ port: { associationsMax: 2 } });
    const [first] = [await associated(), await associated()];
    const refused = await (await connect()).associate();
    assert.deepEqual([refused!.type, ...refused!.body], [PDU.associateRj, 0, 2, 3, 2]);
    first.close();
    await eventually(() => assert.equal(gateway.port.open, 1));
    await associated();
  });

  it('ties a caller to its address where one is configured', async () => {
    await start({
      port: {
        callers: [
          { aeTitle: 'DX1', address: '127.0.0.1', priority: 'routine' },
          { aeTitle: 'DX2', address: '192.0.2.1', priority: 'routine' },
        ],
      },
    });
    await associated();
    const other = await (await connect()).associate({ calling: 'DX2' });
    assert.deepEqual([other!.type, ...other!.body], [PDU.associateRj, 0, 1, 1, 3]);
  });

  it('pauses a peer that is faster than the disk', async () => {
    await start();
    const peer = await associated();
    const { inbox } = gateway;
    let finish = () => {};
    const slow = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const begin = inbox.begin.bind(inbox);
    inbox.begin = async (options) => {
      await slow;
      return begin(options);
    };
    peer.storeCommand('1.2.3');
    const part = Buffer.alloc(100_000);
    let sent = 0;
    // Until the socket takes no more: the port has stopped to read.
    for (; sent < 400; sent++) {
      peer.sendFragments(fragment(1, part, 'data', false));
      if (peer.socket.writableLength > 8_000_000) break;
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(sent < 400, 'the port read everything');
    finish();
    peer.sendFragments(fragment(1, part, 'data'));
    assert.equal((await peer.next())!.type, PDU.data);
    assert.ok(inbox.index.list()[0]!.bytes > sent * part.length);
  });

  it('finishes the operation under way when it closes, and ends idle associations', async () => {
    await start();
    const [busy, idle] = [await associated(), await associated()];
    busy.storeCommand('1.2.3');
    busy.sendFragments(fragment(1, dataSet(1000), 'data', false));
    await eventually(() => assert.equal(gateway.inbox.receiving, 1));
    const closed = gateway.port.close(10_000);
    assert.equal((await idle.next())!.type, PDU.abort);
    busy.sendFragments(fragment(1, dataSet(), 'data'));
    const pdu = await busy.next();
    assert.equal(pdu!.type, PDU.data, gateway.events.join('\n'));
    await closed;
    assert.equal(gateway.inbox.index.list().length, 1);
  });

  it('speaks TLS, and asks for certificates of its authority', async () => {
    const authority = await makeAuthority();
    const own = await authority.issue({ commonName: 'gateway' });
    const client = await authority.issue({ commonName: 'detector' });
    await start({
      port: {
        tls: { cert: own.certificate, key: own.privateKey, ca: authority.certificate, requestCert: true },
      },
    });
    const { port } = gateway.port;
    const options = { host: '127.0.0.1', port, ca: authority.certificate };
    const known = connectTls({ ...options, cert: client.certificate, key: client.privateKey });
    await once(known, 'secureConnect');
    const peer = new RawDicom(known);
    peers.push(peer);
    assert.equal((await peer.associate())!.type, PDU.associateAc);
    assert.equal(await peer.store('1.2.3', dataSet()), 0);
    const unknown = connectTls(options);
    const [error] = (await once(unknown, 'error')) as [Error];
    assert.match(error.message, /certificate required|ECONNRESET|socket hang up/i);
    const plain = await connect();
    assert.equal(await plain.associate(), undefined);
  });
});
