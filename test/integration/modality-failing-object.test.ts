/** Objects that an archive never takes: they delay no other, and a person sees them in the end. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { Deliverer } from '../../clients/modality/src/delivery/deliverer.js';
import { Inbox } from '../../clients/modality/src/inbox/inbox.js';
import { StowPort } from '../../clients/modality/src/stow/stow-port.js';
import { CommittingArchive } from '../support/dicom/committing-archive.js';
import { addScored } from '../support/dicom/scored-instance.js';
import {
  type StowAnswerSent,
  StowArchive,
  type StowedObject,
  storedAnswer,
} from '../support/dicom/stow-archive.js';
import { eventually } from '../support/eventually.js';

const SCORED_MS = 1.7e12;
/** More instances than a failing object is tried before it is a dead letter. */
const INSTANCES_MAX = 60;

describe('an object that is never delivered', function () {
  this.timeout(120_000);
  let root: string;
  let inbox: Inbox;
  let deliverer: Deliverer | undefined;
  const closing: (() => void | Promise<void>)[] = [];
  const events: string[] = [];

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'salad-failing-'));
    inbox = await openInbox('inbox');
    events.length = 0;
  });
  afterEach(async () => {
    await deliverer?.stop();
    deliverer = undefined;
    for (const close of closing.splice(0)) await close();
    rmSync(root, { recursive: true });
  });

  async function openInbox(name: string): Promise<Inbox> {
    const opened = await Inbox.open(join(root, name), { keepFreeBytes: 0, instanceBytesMax: 2 ** 24 });
    closing.push(() => opened.close());
    return opened;
  }

  async function stowArchive(answer: (object: StowedObject) => StowAnswerSent): Promise<StowArchive> {
    const archive = await StowArchive.listen(answer);
    closing.push(() => archive.close());
    return archive;
  }

  function start(destination: { readonly url: string } | { readonly port: number }): void {
    const node = { host: '127.0.0.1', calledAeTitle: 'PACS', callingAeTitle: 'SALAD' };
    deliverer = new Deliverer({
      inbox,
      destinations: [
        {
          name: 'pacs',
          timeoutMs: 10_000,
          ...('url' in destination ? destination : { ...node, ...destination }),
        },
      ],
      backoff: { initialMs: 2, maxMs: 5 },
      events: {
        delivered: (id) => events.push(`delivered ${id}`),
        deliveryFailed: (id, _destination, { result, reason }) => events.push(`${result} ${id} ${reason}`),
        indexFailed: ({ message }) => events.push(message),
      },
    });
    deliverer.start();
  }

  async function add(number: number): Promise<number> {
    const id = await addScored(inbox, `1.2.3.${number}`, SCORED_MS, ['pacs']);
    deliverer?.wake();
    return id;
  }
  const stateOf = (id: number) => inbox.index.byId(id)!.state;
  const untilState = (id: number, state: string) =>
    eventually(() => assert.equal(stateOf(id), state, events.join('\n')));
  const failuresOf = (id: number) => events.filter((event) => event.startsWith(`unavailable ${id} `)).length;

  /** Adds instances, each of which is delivered, until it is enough. */
  async function deliverOthersUntil(isEnough: () => boolean): Promise<void> {
    for (let number = 1; !isEnough(); number++) {
      assert.ok(number < INSTANCES_MAX, events.join('\n'));
      await untilState(await add(number), 'delivered');
    }
  }

  /** Archives that fail on the first object that they get, as long as `isBroken`, and what was sent to them. */
  const failing = {
    async 'HTTP 500'(isBroken: () => boolean) {
      const archive = await stowArchive((object) =>
        isBroken() && object.sopInstanceUid === archive.received[0]!.sopInstanceUid
          ? { status: 500 }
          : storedAnswer(object),
      );
      return {
        destination: { url: archive.url },
        sent: () => archive.received.map((each) => each.sopInstanceUid),
      };
    },
    async 'status 0x0110'(isBroken: () => boolean) {
      const archive = await CommittingArchive.listen();
      closing.push(() => archive.close());
      archive.storeStatusOf = (uid) => (isBroken() && uid === archive.stored[0] ? 0x0110 : 0);
      return { destination: { port: archive.port }, sent: () => archive.stored };
    },
  };

  for (const [answer, startArchive] of Object.entries(failing)) {
    it(`is a dead letter after ten answers ${answer} between which the archive took others, and delays none`, async () => {
      let isBroken = true;
      const { destination, sent } = await startArchive(() => isBroken);
      const id = await add(0);
      start(destination);
      await deliverOthersUntil(() => stateOf(id) === 'dead-letter');
      const reason = `${answer}, 10 times while the archive took other objects`;
      assert.equal(inbox.index.byId(id)!.reason, `pacs: ${reason}`);
      assert.ok(events.includes(`rejected ${id} ${reason}`));
      assert.ok(failuresOf(id) >= 10);
      isBroken = false;
      inbox.index.retry(id);
      await untilState(id, 'delivered');
      assert.equal(sent().at(-1), sent()[0]);
    });
  }

  it('is sent again without end where the archive says that it is overloaded, and delays none', async () => {
    let isOverloaded = true;
    const archive = await stowArchive((object) =>
      isOverloaded && object.sopInstanceUid === archive.received[0]!.sopInstanceUid
        ? { status: 503 }
        : storedAnswer(object),
    );
    const id = await add(0);
    start({ url: archive.url });
    await deliverOthersUntil(() => failuresOf(id) > 15);
    isOverloaded = false;
    await untilState(id, 'delivered');
  });

  it('is none where the archive fails on all objects, however often they are sent', async () => {
    let isBroken = true;
    const archive = await stowArchive((object) => (isBroken ? { status: 500 } : storedAnswer(object)));
    const ids = [await add(1), await add(2), await add(3)];
    start({ url: archive.url });
    await eventually(() => {
      for (const id of ids) assert.ok(failuresOf(id) > 15, events.join('\n'));
    });
    assert.deepEqual(inbox.index.counts()['dead-letter'], 0);
    isBroken = false;
    for (const id of ids) await untilState(id, 'delivered');
  });

  it('is no result of another false-positive rate: the archive keeps both', async () => {
    const archive = await openInbox('archive');
    const port = await StowPort.listen({
      ...{ inbox: archive, host: '127.0.0.1', port: 0, priority: 'routine', token: undefined },
      ...{ connectionsMax: 4, dataMs: 10_000, events: { stowed() {}, requestRefused() {} } },
    });
    closing.push(() => port.close(100));
    const rates = [
      { maxFalsePositiveRate: 0.05, threshold: 4.21, decision: 'anomalous' },
      { maxFalsePositiveRate: 0.01, threshold: 9.9, decision: 'normal' },
    ] as const;
    for (const [index, own] of rates.entries()) {
      // The same image again, after its result was dropped.
      inbox = await openInbox(`inbox ${index}`);
      const id = await addScored(inbox, '1.2.3', SCORED_MS, ['pacs'], [], own);
      start({ url: `http://127.0.0.1:${port.port}` });
      await untilState(id, 'delivered');
      await deliverer!.stop();
    }
    assert.deepEqual([archive.index.list().length, archive.index.conflictCount()], [2, 0]);
  });
});
