/** The inbox of the gateway under a clock that is set forward and back. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { Inbox, type InboxOptions } from '../../../../clients/modality/src/inbox/inbox.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const YEAR_MS = 365 * 24 * HOUR_MS;
const KEEP_MS = 168 * HOUR_MS;
const IDENTITY = { sopClassUid: '1.2.840.10008.5.1.4.1.1.1.1', syntaxUid: '1.2.840.10008.1.2.1' };
const REPORT = { destination: 'pacs', kind: 'report' } as const;

describe('inbox of the gateway, when the clock is set', () => {
  let root: string;
  let inbox: Inbox;
  /** What the clock shows, and the time that passed. */
  let nowMs: number;
  let passedMs: number;

  const options: InboxOptions = {
    keepFreeBytes: 0,
    instanceBytesMax: 2 ** 20,
    now: () => nowMs,
    monotonicNow: () => passedMs,
  };

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'salad-clock-'));
    [nowMs, passedMs] = [1_700_000_000_000, 0];
    inbox = await Inbox.open(root, options);
  });
  afterEach(() => {
    inbox.close();
    rmSync(root, { recursive: true });
  });

  function pass(ms: number): void {
    nowMs += ms;
    passedMs += ms;
  }

  /** An instance whose result waits for its destination. */
  async function addScored(uid: string): Promise<number> {
    const incoming = await inbox.begin({ ...IDENTITY, sopInstanceUid: uid, priority: 'routine' });
    await incoming.write(Buffer.from('data set'));
    const { id } = await incoming.keep();
    assert.equal(inbox.index.takeNext()!.id, id);
    inbox.index.scored(id, '{}', [{ destination: 'pacs', kinds: ['report'] }]);
    return id;
  }

  async function addDelivered(uid: string): Promise<void> {
    inbox.index.endObject(await addScored(uid), REPORT, 'delivered', null);
  }

  const nextId = () => inbox.index.nextDelivery('pacs')?.id;

  for (const [name, postpone] of [
    ['a delivery', (id: number) => inbox.index.postponeDelivery(id, 'pacs', 'away', 5 * MINUTE_MS)],
    [
      'a storage commitment',
      (id: number) => inbox.index.beginCommitment(id, 'pacs', '2.25.1', 5 * MINUTE_MS),
    ],
    ['sending again', (id: number) => inbox.index.sendAgain(id, 'pacs', 'no report', 5 * MINUTE_MS)],
  ] as const) {
    it(`waits for ${name} an hour longer at most after the clock was set back, whatever it was set by`, async () => {
      const id = await addScored('1.2.3');
      for (const backMs of [MINUTE_MS, HOUR_MS - 5 * MINUTE_MS, HOUR_MS, YEAR_MS]) {
        inbox.index.awakenSent('pacs');
        postpone(id);
        assert.equal(nextId(), undefined);
        nowMs -= backMs;
        let minutes = 0;
        for (; nextId() === undefined && minutes <= 60; minutes++) pass(MINUTE_MS);
        assert.ok(minutes <= 60, `set back by ${backMs} ms`);
        inbox.index.forgetCommitment('2.25.1');
      }
    });

    it(`repeats ${name} early at worst after the clock was set forward`, async () => {
      const id = await addScored('1.2.3');
      postpone(id);
      nowMs += YEAR_MS;
      assert.equal(nextId(), id);
      inbox.index.forgetCommitment('2.25.1');
      // The next wait is as long as by a clock that was right.
      postpone(id);
      pass(5 * MINUTE_MS - 1);
      assert.equal(nextId(), undefined);
      pass(1);
      assert.equal(nextId(), id);
    });
  }

  it('scores what was postponed after the clock was set forward, and after it was set right', async () => {
    const incoming = await inbox.begin({ ...IDENTITY, sopInstanceUid: '1.2.3', priority: 'routine' });
    await incoming.write(Buffer.from('data set'));
    const { id } = await incoming.keep();
    for (const setMs of [YEAR_MS, -YEAR_MS]) {
      inbox.index.takeNext();
      inbox.index.postpone(id, 'UNAVAILABLE', MINUTE_MS);
      assert.equal(inbox.index.takeNext(), undefined);
      nowMs += setMs;
      assert.equal(inbox.index.takeNext()!.id, id);
      inbox.index.release(id, null, 0);
    }
  });

  describe('keeps the files of delivered instances', () => {
    const files = () => readdirSync(inbox.folders.instances).length;

    it('for as long as the settings say, where nobody sets the clock', async () => {
      await addDelivered('1.2.3');
      for (let hours = 0; hours < 168; hours++) {
        assert.equal(await inbox.removeDelivered(KEEP_MS), 0);
        pass(HOUR_MS);
      }
      assert.equal(await inbox.removeDelivered(KEEP_MS), 0);
      pass(1);
      assert.equal(await inbox.removeDelivered(KEEP_MS), 1);
      assert.equal(files(), 0);
    });

    it('not shorter where the clock is set forward, such as from the year 1970 after a start without a network', async () => {
      nowMs = 1000;
      inbox.close();
      inbox = await Inbox.open(root, options);
      await addDelivered('1.2.3');
      pass(HOUR_MS);
      nowMs += 54 * YEAR_MS;
      await addDelivered('1.2.4');
      assert.equal(await inbox.removeDelivered(KEEP_MS), 0);
      // The first is an hour older, and both are removed when they are old enough.
      pass(KEEP_MS - HOUR_MS + 1);
      assert.equal(await inbox.removeDelivered(KEEP_MS), 1);
      assert.equal(inbox.index.byUid('1.2.3')!.bytes, 0);
      pass(HOUR_MS);
      assert.equal(await inbox.removeDelivered(KEEP_MS), 1);
    });

    it('not for a year longer where the clock was a year ahead', async () => {
      nowMs += YEAR_MS;
      await addDelivered('1.2.3');
      nowMs -= YEAR_MS;
      assert.equal(await inbox.removeDelivered(KEEP_MS), 0);
      pass(KEEP_MS);
      assert.equal(await inbox.removeDelivered(KEEP_MS), 0);
      pass(1);
      assert.equal(await inbox.removeDelivered(KEEP_MS), 1);
    });

    it('not for a year longer where the clock was set right while the gateway was stopped', async () => {
      nowMs += YEAR_MS;
      await addDelivered('1.2.3');
      inbox.close();
      [nowMs, passedMs] = [nowMs - YEAR_MS, 0];
      inbox = await Inbox.open(root, options);
      assert.equal(await inbox.removeDelivered(KEEP_MS), 0);
      pass(KEEP_MS + 1);
      assert.equal(await inbox.removeDelivered(KEEP_MS), 1);
    });

    it('the same where the clock is set forward and back again between two removals, and after one', async () => {
      for (const isBetween of [true, false]) {
        await addDelivered(`1.2.${isBetween ? 3 : 4}`);
        nowMs += YEAR_MS;
        if (!isBetween) assert.equal(await inbox.removeDelivered(KEEP_MS), 0);
        nowMs -= YEAR_MS;
        assert.equal(await inbox.removeDelivered(KEEP_MS), 0);
        pass(KEEP_MS);
        assert.equal(await inbox.removeDelivered(KEEP_MS), 0);
        pass(1);
        assert.equal(await inbox.removeDelivered(KEEP_MS), 1);
      }
    });
  });
});
