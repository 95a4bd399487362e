/** Watched folders of the gateway whose file system does not answer, as a hard NFS mount whose server is away. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { dicomFile, testCells } from '../../bench/support/dicom-file.js';
import { Inbox } from '../../clients/modality/src/inbox/inbox.js';
import { type ReadFolder, readFolder } from '../../clients/modality/src/watched-folder/files.js';
import { placesForCalls } from '../../clients/modality/src/watched-folder/folder-calls.js';
import {
  WatchedFolder,
  type WatchedFolderOptions,
} from '../../clients/modality/src/watched-folder/watched-folder.js';
import { DicomDecoder } from '../../src/dicom/decoder/dicom-decoder.js';
import type { Places } from '../../src/util/places.js';
import { eventually } from '../support/eventually.js';

const SETTLE_MS = 2000;
const ANSWER_MS = 30_000;
/** Nothing in these tests takes so long, unless it waits for a call that does not return. */
const GRACE_MS = 600_000;
const ITS_OWN = 'its file system does not answer';
const OTHERS = 'the file systems of other watched folders do not answer';

describe('a watched folder whose file system does not answer', function () {
  this.timeout(60_000);
  let root: string;
  let inbox: Inbox;
  let decoder: DicomDecoder;
  let places: Places;
  let nowMs: number;
  /** Makes calls return again. */
  let answer: () => void;
  /** Paths of calls that wait for it. */
  const asked: string[] = [];
  const events: string[] = [];

  before(() => {
    decoder = new DicomDecoder({ processes: 1 });
  });
  after(() => decoder.close());
  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'salad-unanswered-'));
    inbox = await Inbox.open(join(root, 'inbox'), { keepFreeBytes: 0, instanceBytesMax: 2 ** 24 });
    places = placesForCalls();
    nowMs = 0;
    asked.length = 0;
    events.length = 0;
  });
  afterEach(() => {
    inbox.close();
    rmSync(root, { recursive: true });
  });

  /** Calls return from the start until `away` is called. */
  function watch(name: string, options: Partial<WatchedFolderOptions> = {}): WatchedFolder {
    return new WatchedFolder({
      ...{ inbox, decoder, places, path: join(root, name), priority: 'routine' },
      ...{ settleMs: SETTLE_MS, incompleteMs: 1e9, pollMs: 1e9, answerMs: ANSWER_MS, now: () => nowMs },
      events: {
        taken: (id, outcome) => events.push(`${outcome} ${id}`),
        fileRefused: ({ reason }) => events.push(`refused ${reason}`),
        postponed: ({ reason }) => events.push(`postponed ${reason}`),
        folderUnreadable: (path, reason) => events.push(`${path} unreadable: ${reason}`),
        folderReadable: (path) => events.push(`${path} readable`),
      },
      ...options,
    });
  }

  /** @returns what reads a folder and returns only once `answer` was called */
  function away(): ReadFolder {
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    return async (path) => {
      asked.push(path);
      await answered;
      return readFolder(path);
    };
  }

  it('is unreadable after a time limit, and its files are taken when it answers', async () => {
    const folder = watch('watched', { readFolder: away() });
    await folder.start();
    const image = { rows: 40, columns: 48, cells: testCells(40, 48, 12), bitsStored: 12 };
    writeFileSync(join(folder.path, 'a.dcm'), await dicomFile(image));
    const round = folder.poll();
    nowMs += ANSWER_MS - 1;
    await folder.poll();
    assert.deepEqual([events, folder.unreadable], [[], undefined]);
    for (let count = 0; count < 2; count++) {
      nowMs += 1;
      await folder.poll();
      assert.deepEqual(events, [`${folder.path} unreadable: ${ITS_OWN}`]);
    }
    answer();
    await round;
    assert.equal(folder.unreadable, undefined);
    nowMs += SETTLE_MS;
    await folder.poll();
    assert.deepEqual(events.slice(1), [`${folder.path} readable`, 'stored 1']);
    await folder.stop(GRACE_MS);
  });

  it('has two calls under way at most, together with all other folders, so that the inbox can go on', async () => {
    const read = away();
    const folders = ['1', '2', '3'].map((name) => watch(name, { readFolder: read }));
    for (const folder of folders) await folder.start();
    const rounds = folders.map((folder) => folder.poll());
    await eventually(() => assert.equal(asked.length, 2));
    nowMs += ANSWER_MS;
    for (const folder of folders) await folder.poll();
    assert.deepEqual(
      folders.map(({ unreadable }) => unreadable),
      [ITS_OWN, ITS_OWN, OTHERS],
    );
    assert.deepEqual(
      asked,
      folders.slice(0, 2).map(({ path }) => path),
    );
    answer();
    await Promise.all(rounds);
    assert.equal(asked.length, 3);
    for (const folder of folders) {
      assert.equal(folder.unreadable, undefined);
      await folder.stop(GRACE_MS);
    }
  });

  it('holds up neither the start nor the stop', async () => {
    // No call of the folder returns, because no place is left.
    for (let count = 0; count < 2; count++) await places.enter();
    const folder = watch('watched', { answerMs: 100, pollMs: 10, now: () => performance.now() });
    await folder.start();
    await eventually(() => assert.equal(folder.unreadable, OTHERS));
    await folder.stop(GRACE_MS);
  });
});
