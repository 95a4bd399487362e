import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'libsql';
import { afterEach, beforeEach, describe, it } from 'mocha';
import {
  dropInstance,
  Inbox,
  type InboxOptions,
  pathOf,
} from '../../../../clients/modality/src/inbox/inbox.js';
import type { Kept } from '../../../../clients/modality/src/inbox/incoming.js';
import type { ObjectKind, Priority } from '../../../../clients/modality/src/inbox/instance.js';
import { parseFile } from '../../../../src/dicom/data-set.js';
import { SaladError } from '../../../../src/errors/index.js';

const CLASS = '1.2.840.10008.5.1.4.1.1.1.1';
const SYNTAX = '1.2.840.10008.1.2.1';
const PLENTY = { freeBytes: 2 ** 40 };

const reason = (expected: SaladError['reason']) => (error: unknown) =>
  error instanceof SaladError && error.reason === expected;

const wanted = (destination: string, kinds: readonly ObjectKind[] = ['report']) => ({ destination, kinds });
const reportFor = (destination: string) => ({ destination, kind: 'report' }) as const;

/** A data set of one element: Manufacturer (0008,0070). */
function dataSet(content: string): Buffer {
  const value = Buffer.from(content.length % 2 === 0 ? content : `${content} `, 'latin1');
  const head = Buffer.from('08007000', 'hex');
  return Buffer.concat([head, Buffer.from('LO'), Buffer.from(Uint16Array.of(value.length).buffer), value]);
}

describe('inbox of the gateway', () => {
  let root: string;
  let inbox: Inbox;
  let nowMs: number;
  let space = PLENTY;

  const options: InboxOptions = {
    keepFreeBytes: 1000,
    instanceBytesMax: 64 * 1024 * 1024,
    now: () => nowMs,
    monotonicNow: () => nowMs,
    readDiskSpace: async () => space,
  };

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'salad-inbox-'));
    nowMs = 1_700_000_000_000;
    space = PLENTY;
    inbox = await Inbox.open(join(root, 'inbox'), options);
  });
  afterEach(() => {
    inbox.close();
    rmSync(root, { recursive: true });
  });

  async function reopen(): Promise<void> {
    inbox.close();
    inbox = await Inbox.open(join(root, 'inbox'), options);
  }

  const identityOf = (uid: string) => ({ sopInstanceUid: uid, sopClassUid: CLASS, syntaxUid: SYNTAX });

  async function receive(uid: string, content: string, priority: Priority = 'routine'): Promise<Kept> {
    const incoming = await inbox.begin({ ...identityOf(uid), priority });
    await incoming.write(dataSet(content));
    return incoming.keep();
  }

  it('keeps an instance as a DICOM file, and knows it after a restart', async () => {
    const { id, outcome } = await receive('1.2.3', 'data set');
    assert.equal(outcome, 'stored');
    await reopen();
    const instance = inbox.index.byId(id)!;
    assert.equal(instance.state, 'received');
    assert.equal(instance.sopInstanceUid, '1.2.3');
    const bytes = readFileSync(pathOf(inbox.folders, instance));
    assert.equal(bytes.subarray(-8).toString(), 'data set');
    assert.equal(bytes.length, instance.bytes);
    const { syntaxUid, root: parsed } = parseFile(bytes, 0);
    assert.equal(syntaxUid, SYNTAX);
    assert.deepEqual([parsed.text('x00020003'), parsed.text('x00080070')], ['1.2.3', 'data set']);
    assert.equal(inbox.receiving, 0);
  });

  it('answers success once for the same content, also when it comes twice at a time', async () => {
    const both = await Promise.all([receive('1.2.3', 'same'), receive('1.2.3', 'same')]);
    assert.deepEqual(both.map(({ outcome }) => outcome).sort(), ['duplicate', 'stored']);
    assert.equal((await receive('1.2.3', 'same')).outcome, 'duplicate');
    assert.equal(inbox.index.list().length, 1);
    assert.deepEqual(readdirSync(inbox.folders.temporary), []);
  });

  it('refuses other content under a known UID, keeps it aside and leaves the first as it is', async () => {
    const { id } = await receive('1.2.3', 'first');
    const before = readFileSync(pathOf(inbox.folders, inbox.index.byId(id)!));
    await assert.rejects(receive('1.2.3', 'second'), reason('INSTANCE_CONFLICT'));
    await assert.rejects(receive('1.2.3', 'second'), reason('INSTANCE_CONFLICT'));
    assert.deepEqual(readFileSync(pathOf(inbox.folders, inbox.index.byId(id)!)), before);
    const [conflict, ...more] = inbox.index.conflicts();
    assert.equal(more.length, 0);
    assert.equal(readFileSync(join(inbox.folders.aside, conflict!.file)).subarray(-6).toString(), 'second');
    assert.deepEqual(readdirSync(inbox.folders.instances).length, 1);
  });

  it('takes the same data set in another transfer syntax for other content', async () => {
    await receive('1.2.3', 'same');
    const other = await inbox.begin({
      ...identityOf('1.2.3'),
      syntaxUid: '1.2.840.10008.1.2',
      priority: 'stat',
    });
    await other.write(dataSet('same'));
    await assert.rejects(other.keep(), reason('INSTANCE_CONFLICT'));
  });

  it('has nothing in process after a restart, and no file of which nobody was told that it is kept', async () => {
    const { id } = await receive('1.2.3', 'data set');
    assert.equal(inbox.index.takeNext()!.id, id);
    const unfinished = await inbox.begin({ ...identityOf('1.2.4'), priority: 'routine' });
    await unfinished.write(Buffer.from('half'));
    await reopen();
    assert.equal(inbox.index.byId(id)!.state, 'received');
    assert.deepEqual(readdirSync(inbox.folders.temporary), []);
    assert.deepEqual(inbox.recovery, { reset: 1, adopted: 0, unknown: 0, lost: 0, discarded: 1 });
    await unfinished.discard();
  });

  it('makes an instance a dead letter that was being sent ten times when the gateway ended, and no other', async () => {
    const { id } = await receive('1.2.3', 'one');
    const other = (await receive('1.2.4', 'two')).id;
    for (let count = 0; count < 10; count++) {
      assert.equal(inbox.index.takeNext()!.id, id);
      await reopen();
    }
    assert.deepEqual(
      [inbox.index.byId(id)!.state, inbox.index.byId(other)!.state],
      ['dead-letter', 'received'],
    );
    assert.match(inbox.index.byId(id)!.reason!, /every time/);
  });

  it('rebuilds an index that was lost from the files, with the same content hashes', async () => {
    await receive('1.2.3', 'one');
    await receive('1.2.4', 'two');
    const hashes = inbox.index.list().map(({ contentHash }) => contentHash);
    inbox.close();
    for (const name of readdirSync(join(root, 'inbox'))) {
      if (name.startsWith('index.db')) rmSync(join(root, 'inbox', name));
    }
    writeFileSync(join(root, 'inbox/instances/note.txt'), 'no DICOM file');
    inbox = await Inbox.open(join(root, 'inbox'), options);
    assert.deepEqual(inbox.recovery, { reset: 0, adopted: 2, unknown: 1, lost: 0, discarded: 0 });
    assert.deepEqual(new Set(inbox.index.list().map(({ contentHash }) => contentHash)), new Set(hashes));
    assert.equal((await receive('1.2.4', 'two')).outcome, 'duplicate');
  });

  async function outcomeOf(uid: string, content: string) {
    const { id, outcome } = await receive(uid, content);
    return { id, outcome };
  }

  it('makes an instance whose file is lost or short a dead letter, and takes the same content again', async () => {
    const lost = (await receive('1.2.3', 'one')).id;
    const short = (await receive('1.2.4', 'two')).id;
    rmSync(pathOf(inbox.folders, inbox.index.byId(lost)!));
    truncateSync(pathOf(inbox.folders, inbox.index.byId(short)!), 10);
    await reopen();
    assert.match(inbox.index.byId(lost)!.reason!, /missing/);
    assert.match(inbox.index.byId(short)!.reason!, /10 of \d+ bytes/);
    for (const [id, uid, content] of [
      [lost, '1.2.3', 'one'],
      [short, '1.2.4', 'two'],
    ] as const) {
      assert.deepEqual(await outcomeOf(uid, content), { id, outcome: 'stored' });
      const { state, bytes } = inbox.index.byId(id)!;
      assert.deepEqual(
        [state, bytes],
        ['received', statSync(pathOf(inbox.folders, inbox.index.byId(id)!)).size],
      );
      assert.deepEqual(await outcomeOf(uid, content), { id, outcome: 'duplicate' });
    }
  });

  it('refuses instances before the disk is full, at the begin and within a large one, and lives on', async () => {
    space = { freeBytes: 999 };
    await assert.rejects(receive('1.2.3', 'data set'), reason('STORAGE_FULL'));
    space = PLENTY;
    const large = await inbox.begin({ ...identityOf('1.2.4'), priority: 'routine' });
    await large.write(Buffer.alloc(1024 * 1024));
    space = { freeBytes: 999 };
    await assert.rejects(async () => {
      for (let mib = 0; mib < 9; mib++) await large.write(Buffer.alloc(1024 * 1024));
    }, reason('STORAGE_FULL'));
    assert.deepEqual(readdirSync(inbox.folders.temporary), []);
    assert.deepEqual(readdirSync(inbox.folders.instances), []);
    assert.equal(inbox.receiving, 0);
    space = PLENTY;
    assert.equal((await receive('1.2.4', 'data set')).outcome, 'stored');
  });

  it('refuses an instance above the largest size', async () => {
    inbox.close();
    inbox = await Inbox.open(join(root, 'inbox'), { ...options, instanceBytesMax: 1000 });
    await assert.rejects(receive('1.2.3', 'x'.repeat(1000)), reason('MESSAGE_TOO_LARGE'));
    assert.equal(inbox.index.list().length, 0);
  });

  it('belongs to one gateway at a time', async () => {
    await assert.rejects(Inbox.open(join(root, 'inbox'), options), reason('CONFIGURATION_INVALID'));
    await receive('1.2.3', 'still works');
  });

  it('drops an instance so that it does not come back', async () => {
    const { id } = await receive('1.2.3', 'data set');
    await dropInstance(inbox.folders, inbox.index, inbox.index.byId(id)!);
    await reopen();
    assert.deepEqual(inbox.index.list(), []);
    assert.equal((await receive('1.2.3', 'other content')).outcome, 'stored');
  });

  describe('order of work', () => {
    it('is STAT first, then by arrival', async () => {
      const ids = [];
      for (const [uid, priority] of [
        ['1.2.1', 'routine'],
        ['1.2.2', 'stat'],
        ['1.2.3', 'routine'],
        ['1.2.4', 'stat'],
      ] as const) {
        ids.push((await receive(uid, uid, priority)).id);
      }
      const taken = ids.map(() => inbox.index.takeNext()!.id);
      assert.deepEqual(taken, [ids[1], ids[3], ids[0], ids[2]]);
      assert.equal(inbox.index.takeNext(), undefined);
    });

    it('lets a postponed instance wait without delaying others, also after the clock was set back', async () => {
      const first = (await receive('1.2.1', 'a')).id;
      const second = (await receive('1.2.2', 'b')).id;
      inbox.index.takeNext();
      inbox.index.postpone(first, 'UNAVAILABLE', 60_000);
      assert.equal(inbox.index.takeNext()!.id, second);
      assert.equal(inbox.index.takeNext(), undefined);
      nowMs += 60_000;
      assert.equal(inbox.index.takeNext()!.attempts, 2);
      inbox.index.postpone(first, 'UNAVAILABLE', 60_000);
      nowMs -= 365 * 86_400_000;
      assert.equal(inbox.index.takeNext()!.id, first);
    });
  });

  describe('deliveries', () => {
    let id: number;
    beforeEach(async () => {
      id = (await receive('1.2.3', 'data set')).id;
      inbox.index.takeNext();
      inbox.index.scored(id, '{"imageScore":1}', [wanted('archive'), wanted('pacs')]);
    });

    it('of a dead destination delay no other', () => {
      inbox.index.postponeDelivery(id, 'archive', 'refused', 60_000);
      assert.equal(inbox.index.nextDelivery('archive'), undefined);
      assert.equal(inbox.index.nextDelivery('pacs')!.id, id);
      inbox.index.endObject(id, reportFor('pacs'), 'delivered', null);
      assert.equal(inbox.index.byId(id)!.state, 'scored');
      nowMs += 60_000;
      assert.equal(inbox.index.nextDelivery('archive')!.id, id);
      inbox.index.endObject(id, reportFor('archive'), 'delivered', null);
      assert.equal(inbox.index.byId(id)!.state, 'delivered');
      assert.equal(inbox.index.byId(id)!.result, '{"imageScore":1}');
    });

    it('that fail for good make a dead letter with the reason, which retry delivers again where it failed', () => {
      inbox.index.endObject(id, reportFor('pacs'), 'delivered', null);
      inbox.index.endObject(id, reportFor('archive'), 'dead-letter', 'the object was refused');
      const dead = inbox.index.byId(id)!;
      assert.deepEqual([dead.state, dead.reason], ['dead-letter', 'archive: the object was refused']);
      assert.equal(inbox.index.retry(id), true);
      assert.equal(inbox.index.retry(id), false);
      assert.equal(inbox.index.nextDelivery('pacs'), undefined);
      assert.equal(inbox.index.nextDelivery('archive')!.id, id);
    });

    it('end with the last of their objects, each of which is sent again alone where it was refused', () => {
      const own = (kind: ObjectKind) => ({ destination: 'other', kind });
      const other = inbox.index.byUid('1.2.3')!;
      inbox.index.deadLetter(id, 'scored again below');
      inbox.index.restored(id, other.bytes);
      inbox.index.takeNext();
      inbox.index.scored(id, '{}', [wanted('other', ['secondaryCapture', 'report', 'segmentation'])]);
      for (const name of ['archive', 'pacs']) inbox.index.endObject(id, reportFor(name), 'delivered', null);
      assert.equal(inbox.index.endObject(id, own('report'), 'delivered', null), 'waiting');
      assert.equal(inbox.index.endObject(id, own('segmentation'), 'none', 'nothing is there'), 'waiting');
      assert.equal(
        inbox.index.endObject(id, own('secondaryCapture'), 'dead-letter', 'refused'),
        'dead-letter',
      );
      assert.equal(inbox.index.byId(id)!.reason, 'other: secondaryCapture: refused');
      inbox.index.retry(id);
      assert.deepEqual(
        inbox.index.objects(id).map(({ destination, kind, state }) => [destination, kind, state]),
        [
          ['archive', 'report', 'delivered'],
          ['other', 'report', 'delivered'],
          ['other', 'segmentation', 'none'],
          ['other', 'secondaryCapture', 'waiting'],
          ['pacs', 'report', 'delivered'],
        ],
      );
      assert.equal(inbox.index.nextDelivery('other')!.id, id);
      assert.equal(inbox.index.endObject(id, own('secondaryCapture'), 'delivered', null), 'delivered');
      assert.equal(inbox.index.byId(id)!.state, 'delivered');
    });

    it('keep the maps that their objects are drawn from until they are delivered', async () => {
      const next = (await receive('1.2.4', 'other')).id;
      inbox.index.takeNext();
      const map = { frame: 1, rows: 2, columns: 3, scale: '[]', data: Uint8Array.of(1, 2, 3) };
      inbox.index.scored(next, '{}', [wanted('pacs')], [map]);
      await reopen();
      assert.deepEqual(inbox.index.maps(next), [map]);
      inbox.index.endObject(next, reportFor('pacs'), 'delivered', null);
      assert.deepEqual(inbox.index.maps(next), []);
    });

    it('of an index of version 1 go on with the report', async () => {
      inbox.index.endObject(id, reportFor('pacs'), 'delivered', null);
      inbox.close();
      const database = new Database(inbox.folders.index);
      database.exec('DROP TABLE objects; DROP TABLE maps; DROP TABLE commitments; PRAGMA user_version = 1');
      database.close();
      inbox = await Inbox.open(join(root, 'inbox'), options);
      assert.deepEqual(inbox.index.objects(id), [
        { destination: 'archive', kind: 'report', state: 'waiting', reason: null },
        { destination: 'pacs', kind: 'report', state: 'delivered', reason: null },
      ]);
    });

    it('of an index of version 2 go on as they were', async () => {
      inbox.index.endObject(id, reportFor('pacs'), 'delivered', null);
      const [objects, deliveries] = [inbox.index.objects(id), inbox.index.deliveries(id)];
      inbox.close();
      const database = new Database(inbox.folders.index);
      // The tables of version 2 as that version created them.
      database.exec(`
        CREATE TABLE objects2 (
          instance INTEGER NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
          destination TEXT NOT NULL,
          kind TEXT NOT NULL,
          state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'none', 'dead-letter')),
          reason TEXT,
          PRIMARY KEY (instance, destination, kind)
        ) STRICT;
        INSERT INTO objects2 SELECT instance, destination, kind, state, reason FROM objects;
        DROP TABLE objects;
        ALTER TABLE objects2 RENAME TO objects;
        DROP TABLE commitments;
        PRAGMA user_version = 2;
      `);
      database.close();
      inbox = await Inbox.open(join(root, 'inbox'), options);
      assert.deepEqual([inbox.index.objects(id), inbox.index.deliveries(id)], [objects, deliveries]);
      const uids = { sopClassUid: '1.2.1', sopInstanceUid: '1.2.2' };
      inbox.index.objectSent(id, reportFor('archive'), uids);
      assert.deepEqual(inbox.index.sentObjects(id, 'archive', 'sent'), [{ kind: 'report', ...uids }]);
    });

    it('survive a restart as they are', async () => {
      inbox.index.endObject(id, reportFor('pacs'), 'delivered', null);
      const before = inbox.index.deliveries(id);
      await reopen();
      assert.deepEqual(inbox.index.deliveries(id), before);
      assert.equal(inbox.index.byId(id)!.state, 'scored');
    });
  });

  it('removes files of instances delivered long ago, and still knows their content', async () => {
    const delivered = (await receive('1.2.1', 'one')).id;
    const waiting = (await receive('1.2.2', 'two')).id;
    for (const id of [delivered, waiting]) {
      inbox.index.takeNext();
      inbox.index.scored(id, '{}', [wanted('pacs')]);
    }
    inbox.index.endObject(delivered, reportFor('pacs'), 'delivered', null);
    assert.equal(await inbox.removeDelivered(60_000), 0);
    nowMs += 60_001;
    assert.equal(await inbox.removeDelivered(60_000), 1);
    assert.equal(await inbox.removeDelivered(60_000), 0);
    assert.deepEqual(readdirSync(inbox.folders.instances), [inbox.index.byId(waiting)!.file]);
    await reopen();
    assert.equal(inbox.recovery.lost, 0);
    assert.equal((await receive('1.2.1', 'one')).outcome, 'duplicate');
    await assert.rejects(receive('1.2.1', 'other'), reason('INSTANCE_CONFLICT'));
  });

  it('retries an instance that could not be scored from the start', async () => {
    const { id } = await receive('1.2.3', 'data set');
    inbox.index.takeNext();
    inbox.index.deadLetter(id, 'IMAGE_UNREADABLE');
    assert.equal(inbox.index.takeNext(), undefined);
    inbox.index.retry(id);
    assert.deepEqual([inbox.index.takeNext()!.id, inbox.index.byId(id)!.attempts], [id, 1]);
  });

  it('names files by hashes only', async () => {
    await receive('1.2.826.0.1.4711', 'data set');
    const expected = createHash('sha256').update('1.2.826.0.1.4711').digest('hex');
    assert.deepEqual(readdirSync(inbox.folders.instances), [`${expected}.dcm`]);
  });
});
