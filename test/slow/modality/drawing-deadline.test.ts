/** An object whose drawing takes longer than its deadline, such as on a machine with much other work. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { Deliverer } from '../../../clients/modality/src/delivery/deliverer.js';
import { Inbox } from '../../../clients/modality/src/inbox/inbox.js';
import { addScored } from '../../support/dicom/scored-instance.js';
import { StowArchive, storedAnswer } from '../../support/dicom/stow-archive.js';
import { eventually } from '../../support/eventually.js';

const SCORED_MS = 1.7e12;
/** For ten decoder processes, one after the other, on a busy machine. */
const WAIT_MS = 200_000;

describe('drawing an object that takes longer than its deadline', function () {
  this.timeout(300_000);
  let root: string;
  let inbox: Inbox;
  let archive: StowArchive;
  let deliverer: Deliverer | undefined;
  const events: string[] = [];

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'salad-drawing-'));
    inbox = await Inbox.open(join(root, 'inbox'), { keepFreeBytes: 0, instanceBytesMax: 2 ** 24 });
    archive = await StowArchive.listen(storedAnswer);
    events.length = 0;
  });
  afterEach(async () => {
    await deliverer?.stop();
    archive.close();
    inbox.close();
    rmSync(root, { recursive: true });
  });

  function start(decodingDeadlineMs?: number): void {
    deliverer = new Deliverer({
      inbox,
      destinations: [{ name: 'pacs', url: archive.url, timeoutMs: 60_000 }],
      backoff: { initialMs: 2, maxMs: 5 },
      ...(decodingDeadlineMs === undefined ? {} : { decodingDeadlineMs }),
      events: {
        delivered: (id) => events.push(`delivered ${id}`),
        deliveryFailed: (id, _destination, { result }) => events.push(`${result} ${id}`),
        indexFailed: ({ message }) => events.push(message),
      },
    });
    deliverer.start();
  }

  const untilState = (id: number, state: string) =>
    eventually(() => assert.equal(inbox.index.byId(id)!.state, state, events.join('\n')), WAIT_MS);

  it('is tried ten times, delays no other object, and is drawn by `retry` once there is time', async () => {
    const id = await addScored(inbox, '1.2.3', SCORED_MS, ['pacs'], ['presentationState']);
    const other = await addScored(inbox, '1.2.4', SCORED_MS, ['pacs']);
    start(0);
    await untilState(id, 'dead-letter');
    const failures = (count: number) => Array.from({ length: count }, () => `unavailable ${id}`);
    assert.deepEqual(events, [...failures(1), `delivered ${other}`, ...failures(8), `rejected ${id}`]);
    assert.match(
      inbox.index.byId(id)!.reason!,
      /^pacs: presentationState: decoding took longer .*, 10 times$/,
    );
    await deliverer!.stop();
    inbox.index.retry(id);
    start();
    await untilState(id, 'delivered');
    // Two reports, each once, and the presentation state.
    assert.equal(archive.received.length, 3);
  });
});
