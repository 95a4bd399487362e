/** Storage commitment, to an archive that answers on the same association, on a new one, with a failure, or never. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { Deliverer } from '../../clients/modality/src/delivery/deliverer.js';
import { STORAGE_COMMITMENT } from '../../clients/modality/src/dicom-port/commitment-report.js';
import { DicomPort } from '../../clients/modality/src/dicom-port/port.js';
import { CommittingArchive } from '../support/dicom/committing-archive.js';
import { type GatewayPort, startGatewayPort } from '../support/dicom/gateway-port.js';
import { modality, writeSettings } from '../support/dicom/gateway-program.js';
import { commandSet, DX_CLASS, fragment, PDU, RawDicom } from '../support/dicom/raw-dicom.js';
import { addScored } from '../support/dicom/scored-instance.js';
import { eventually } from '../support/eventually.js';

const GSPS_CLASS = '1.2.840.10008.5.1.4.1.1.11.1';
const SR_CLASS = '1.2.840.10008.5.1.4.1.1.88.33';
const LONG_MS = 3_000_000;
const SCORED_MS = 1.7e12;

describe('storage commitment', function () {
  this.timeout(60_000);
  let gateway: GatewayPort;
  let port: DicomPort;
  let archive: CommittingArchive;
  let deliverer: Deliverer | undefined;
  const events: string[] = [];

  beforeEach(async () => {
    events.length = 0;
    // Its inbox; the port without reports is not used.
    gateway = await startGatewayPort();
    archive = await CommittingArchive.listen();
  });
  afterEach(async () => {
    await deliverer?.stop();
    await port?.close(100);
    archive.close();
    await gateway.close();
  });

  async function start(
    commitmentTimeoutMs: number | undefined = LONG_MS,
    commitmentRequestsMax?: number,
  ): Promise<void> {
    const titles = { calledAeTitle: 'PACS', callingAeTitle: 'SALAD' };
    const host = { host: '127.0.0.1', port: archive.port };
    deliverer = new Deliverer({
      inbox: gateway.inbox,
      destinations: [{ name: 'pacs', ...host, ...titles, timeoutMs: 10_000, commitmentTimeoutMs }],
      backoff: { initialMs: 50, maxMs: 100 },
      ...(commitmentRequestsMax === undefined ? {} : { commitmentRequestsMax }),
      events: {
        delivered: (id, destination) => events.push(`delivered ${id} ${destination}`),
        deliveryFailed: (id, destination, { result, reason }) =>
          events.push(`${result} ${id} ${destination} ${reason}`),
        indexFailed: ({ message }) => events.push(message),
      },
    });
    deliverer.start();
    port = await DicomPort.listen({
      ...{ inbox: gateway.inbox, host: '127.0.0.1', port: 0, aeTitle: 'SALAD', associationsMax: 4 },
      callers: [{ aeTitle: 'DX1', priority: 'routine' }],
      reports: deliverer.commitments,
      ...{ pduBytesMax: 128 * 1024, associationMs: 10_000, idleMs: 600_000, dataMs: 10_000 },
      events: { refused() {}, accepted() {}, aborted: (why) => events.push(why), stored() {}, failed() {} },
    });
  }

  const stateOf = (id: number) => gateway.inbox.index.byId(id)!.state;
  const objectOf = (id: number) => gateway.inbox.index.objects(id)[0]!;
  const add = (uid: string) => addScored(gateway.inbox, uid, SCORED_MS, ['pacs']);
  const untilRequests = (count: number) =>
    eventually(() => assert.equal(archive.requests.length, count, events.join('\n')));
  const untilDelivered = (id: number) =>
    eventually(() => assert.equal(stateOf(id), 'delivered', events.join('\n')));

  it('ends a delivery by a report on the association of the request', async () => {
    const id = await add('1.2.3');
    await start();
    await untilDelivered(id);
    assert.equal(archive.stored.length, 1);
    assert.deepEqual(
      archive.requests.map(({ sopClassUids, sopInstanceUids }) => [sopClassUids, sopInstanceUids]),
      [[[SR_CLASS], archive.stored]],
    );
    assert.match(archive.requests[0]!.transactionUid, /^2\.25\.\d{1,39}$/);
    await eventually(() => assert.deepEqual(archive.reported, [0]));
    assert.deepEqual(events, [`delivered ${id} pacs`]);
  });

  it('ends a delivery by a report on a new association, and not before', async () => {
    archive.answers.push({ how: 'none' });
    const id = await add('1.2.3');
    await start();
    await untilRequests(1);
    await eventually(() => assert.equal(objectOf(id).state, 'sent'));
    assert.deepEqual(gateway.inbox.index.commitmentCounts(), [{ destination: 'pacs', count: 1 }]);
    assert.equal(gateway.inbox.index.deliveries(id)[0]!.reason, 'waits for storage commitment');
    const { transactionUid } = archive.requests[0]!;
    // Of another archive, of no transaction of this program, and without the object.
    assert.equal(
      await archive.report(port.port, transactionUid, archive.stored, ['DX1', 'SALAD']),
      undefined,
    );
    assert.equal(
      await archive.report(port.port, transactionUid, archive.stored, ['PACS', 'OTHER']),
      undefined,
    );
    assert.equal(await archive.report(port.port, '2.25.1', archive.stored), 0);
    assert.equal(stateOf(id), 'scored');
    assert.equal(await archive.report(port.port, transactionUid, archive.stored), 0);
    assert.equal(stateOf(id), 'delivered');
    assert.deepEqual(gateway.inbox.index.commitmentCounts(), []);
    // Repeated, because the answer was lost.
    assert.equal(await archive.report(port.port, transactionUid, archive.stored), 0);
    assert.equal(archive.stored.length, 1);
  });

  it('sends again what the archive did not commit, or did not name', async () => {
    archive.answers.push({ how: 'sameAssociation', failed: true }, { how: 'none' });
    const id = await add('1.2.3');
    await start();
    await untilRequests(2);
    assert.deepEqual(events, [`uncommitted ${id} pacs not committed: report has failure reason 0x0112`]);
    assert.equal(archive.stored.length, 2);
    assert.equal(archive.stored[0], archive.stored[1]);
    await archive.report(port.port, archive.requests[1]!.transactionUid, ['1.2.9']);
    await untilDelivered(id);
    assert.equal(archive.stored.length, 3);
    assert.equal(events[1], `uncommitted ${id} pacs not committed: report is not in the report`);
  });

  it('asks for all objects of an instance at once, and sends only those again that are not committed', async () => {
    archive.answers.push({ how: 'sameAssociation', failed: true });
    const id = await addScored(gateway.inbox, '1.2.3', SCORED_MS, ['pacs'], ['presentationState']);
    await start();
    await untilDelivered(id);
    const [first, second] = archive.requests;
    assert.deepEqual([...first!.sopClassUids].sort(), [GSPS_CLASS, SR_CLASS]);
    assert.deepEqual(second!.sopInstanceUids, first!.sopInstanceUids.slice(0, 1));
    assert.equal(archive.requests.length, 2);
    assert.deepEqual(archive.stored.slice(2), second!.sopInstanceUids);
  });

  it('sends again where no report comes in time, and takes a late one', async () => {
    for (let request = 0; request < 100; request++) archive.answers.push({ how: 'none' });
    const id = await add('1.2.3');
    await start(200);
    await untilRequests(2);
    assert.equal(events[0], `uncommitted ${id} pacs no report of storage commitment in time`);
    assert.ok(archive.stored.length >= 2);
    const [first, second] = archive.requests;
    assert.notEqual(first!.transactionUid, second!.transactionUid);
    await archive.report(port.port, first!.transactionUid, archive.stored);
    await untilDelivered(id);
  });

  it('makes a dead letter where the archive never commits, which `retry` sends again', async () => {
    for (let request = 0; request < 3; request++) archive.answers.push({ how: 'none' });
    const id = await add('1.2.3');
    await start(100, 3);
    await eventually(() => assert.equal(stateOf(id), 'dead-letter', events.join('\n')));
    const reason = 'no report of storage commitment in time, after 3 requests';
    assert.equal(gateway.inbox.index.byId(id)!.reason, `pacs: ${reason}`);
    assert.equal(events.at(-1), `rejected ${id} pacs ${reason}`);
    assert.equal(archive.requests.length, 3);
    assert.ok(gateway.inbox.index.retry(id));
    await untilDelivered(id);
    assert.equal(archive.requests.length, 4);
    assert.equal(new Set(archive.stored).size, 1);
  });

  it('makes a dead letter where the archive refuses every request', async () => {
    archive.offersCommitment = false;
    const id = await add('1.2.3');
    await start(LONG_MS, 2);
    await eventually(() => assert.equal(stateOf(id), 'dead-letter', events.join('\n')));
    assert.match(gateway.inbox.index.byId(id)!.reason!, /offers no storage commitment, after 2 requests$/);
    assert.equal(archive.stored.length, 1);
  });

  it('asks again after a restart, without sending again', async () => {
    archive.answers.push({ how: 'none' });
    const id = await add('1.2.3');
    await start();
    await untilRequests(1);
    await eventually(() => assert.equal(gateway.inbox.index.commitmentCount(id, 'pacs'), 1));
    await deliverer!.stop();
    await port.close(0);
    assert.equal(objectOf(id).state, 'sent');
    await start();
    await untilDelivered(id);
    assert.equal(archive.requests.length, 2);
    assert.equal(archive.stored.length, 1);
  });

  it('ends the delivery of what was sent where the setting is turned off', async () => {
    archive.answers.push({ how: 'none' });
    const id = await add('1.2.3');
    await start();
    await untilRequests(1);
    await deliverer!.stop();
    await port.close(0);
    deliverer = new Deliverer({
      inbox: gateway.inbox,
      destinations: [{ name: 'pacs', url: 'http://127.0.0.1:1', timeoutMs: 1000 }],
      events: { delivered() {}, deliveryFailed() {}, indexFailed() {} },
    });
    deliverer.start();
    await untilDelivered(id);
  });

  it('waits and asks again where the archive refuses the request or offers no storage commitment', async () => {
    archive.answers.push({ how: 'status', status: 0x0110 });
    archive.offersCommitment = false;
    const [id, next] = [await add('1.2.3'), await add('1.2.4')];
    await start();
    const offersNone = 'uncommitted %d pacs the archive offers no storage commitment';
    // Another delivery goes on meanwhile.
    await eventually(() => assert.ok(events.includes(offersNone.replace('%d', String(next)))));
    archive.offersCommitment = true;
    for (const each of [id, next]) await untilDelivered(each);
    assert.ok(events.some((event) => /pacs storage commitment refused with status 0x0110$/.test(event)));
    assert.equal(archive.stored.length, 2);
  });

  it('is refused for a destination by STOW-RS', async () => {
    const config = writeSettings(gateway.inbox.folders.root, {
      server: { targets: ['127.0.0.1:1'], model: 'small' },
      destinations: [{ name: 'pacs', url: 'http://127.0.0.1:1', storageCommitment: true }],
    });
    const refused = await modality('serve', '--config', config);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /pacs: storageCommitment needs dicom: STOW-RS has none/);
  });

  it('lets an archive report only, and nobody else', async () => {
    await start();
    const peers: RawDicom[] = [];
    const associated = async (calling: string) => {
      const peer = await RawDicom.connect(port.port);
      peers.push(peer);
      const classes = [DX_CLASS, STORAGE_COMMITMENT.sopClassUid];
      assert.equal((await peer.associate({ calling, classes }))!.type, PDU.associateAc);
      return peer;
    };
    const { sopClassUid } = STORAGE_COMMITMENT;
    const report = commandSet({ field: 0x0100, sopClass: sopClassUid, hasDataSet: true });
    try {
      // Not by the rejected presentation context of an image class, nor under the class of the accepted one.
      const storing = await associated('PACS');
      assert.equal(await storing.store('1.2.9', Buffer.from('080070004c4f02004142', 'hex')), 0x0122);
      const disguised = await associated('PACS');
      const command = commandSet({ field: 1, sopClass: sopClassUid, sopInstance: '1.2.9', hasDataSet: true });
      disguised.sendFragments(fragment(3, command, 'command'), fragment(3, Buffer.alloc(8), 'data'));
      assert.ok((await disguised.next())!.body.includes(Buffer.from('000000090200000022', 'hex')));
      assert.equal(gateway.inbox.index.byUid('1.2.9'), undefined);
      const sender = await associated('DX1');
      sender.sendFragments(fragment(3, report, 'command'));
      assert.equal((await sender.next())!.type, PDU.abort);
      const long = await associated('PACS');
      long.sendFragments(fragment(3, report, 'command'));
      for (let part = 0; part < 5; part++) {
        long.sendFragments(fragment(3, Buffer.alloc(16_000), 'data', false));
      }
      assert.equal((await long.next())!.type, PDU.abort);
      assert.ok(events.includes('a data set that is too long'));
      const empty = await associated('PACS');
      empty.sendFragments(fragment(3, commandSet({ field: 0x0100, sopClass: sopClassUid }), 'command'));
      assert.ok((await empty.next())!.body.includes(Buffer.from('000000090200000015', 'hex')));
    } finally {
      for (const peer of peers) peer.close();
    }
  });
});
