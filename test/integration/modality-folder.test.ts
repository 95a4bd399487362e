/** The watched folder of the gateway, with a real decoder process. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { dicomFile, testCells } from '../../bench/support/dicom-file.js';
import { Inbox, pathOf } from '../../clients/modality/src/inbox/inbox.js';
import { WatchedFolder } from '../../clients/modality/src/watched-folder/watched-folder.js';
import { DicomDecoder } from '../../src/dicom/decoder/dicom-decoder.js';

const SETTLE_MS = 2000;
const INCOMPLETE_MS = 600_000;

describe('watched folder of the gateway', function () {
  this.timeout(60_000);
  let root: string;
  let inbox: Inbox;
  let decoder: DicomDecoder;
  let folder: WatchedFolder;
  let nowMs: number;
  let freeBytes: number;
  const events: string[] = [];

  before(() => {
    decoder = new DicomDecoder({ processes: 1 });
  });
  after(() => decoder.close());
  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'salad-watched-'));
    nowMs = 0;
    freeBytes = 1e9;
    events.length = 0;
    inbox = await Inbox.open(join(root, 'inbox'), {
      keepFreeBytes: 1000,
      instanceBytesMax: 2 ** 24,
      readDiskSpace: async () => ({ freeBytes }),
    });
    folder = new WatchedFolder({
      ...{ inbox, decoder, path: join(root, 'watched'), priority: 'routine' },
      ...{ settleMs: SETTLE_MS, incompleteMs: INCOMPLETE_MS, pollMs: 1e9, now: () => nowMs },
      events: {
        taken: (id, outcome) => events.push(`${outcome} ${id}`),
        fileRefused: ({ reason }) => events.push(`refused ${reason}`),
        postponed: ({ reason }) => events.push(`postponed ${reason}`),
      },
    });
    await folder.start();
  });
  afterEach(async () => {
    await folder.stop();
    inbox.close();
    rmSync(root, { recursive: true });
  });

  const at = (name: string) => join(root, 'watched', name);
  const image = { rows: 40, columns: 48, cells: testCells(40, 48, 12), bitsStored: 12 };
  const fileOf = (uid: string, seed = 0) =>
    dicomFile({
      ...image,
      cells: image.cells.map((cell) => cell ^ seed),
      elements: { '00080016 UI': '1.2.840.10008.5.1.4.1.1.1.1', '00080018 UI': uid },
    });

  async function pollAfter(ms: number): Promise<void> {
    nowMs += ms;
    await folder.poll();
  }

  it('takes a file when it has settled, also in a folder below, and removes it then', async () => {
    mkdirSync(at('study'));
    const bytes = await fileOf('1.2.3');
    writeFileSync(at('study/image'), bytes);
    await pollAfter(0);
    await pollAfter(SETTLE_MS - 1);
    assert.deepEqual(events, []);
    await pollAfter(1);
    assert.deepEqual(events, ['stored 1']);
    assert.deepEqual(readdirSync(at('study')), []);
    const kept = readFileSync(pathOf(inbox.folders, inbox.index.byId(1)!));
    assert.deepEqual(kept.subarray(-1000), Buffer.from(bytes).subarray(-1000));
  });

  it('waits for a file that still grows, also where its writer pauses in the middle', async () => {
    const bytes = await fileOf('1.2.3');
    writeFileSync(at('image.dcm'), bytes.subarray(0, 2000));
    await pollAfter(0);
    writeFileSync(at('image.dcm'), bytes.subarray(0, 3000));
    await pollAfter(SETTLE_MS);
    await pollAfter(SETTLE_MS);
    assert.deepEqual(events, []);
    writeFileSync(at('image.dcm'), bytes);
    await pollAfter(SETTLE_MS);
    await pollAfter(SETTLE_MS);
    assert.deepEqual(events, ['stored 1']);
  });

  it('moves what never becomes complete, and what is no DICOM file, to refused/', async () => {
    writeFileSync(at('half.dcm'), (await fileOf('1.2.3')).subarray(0, 2000));
    writeFileSync(at('notes.txt'), 'no DICOM file');
    await pollAfter(0);
    await pollAfter(INCOMPLETE_MS - 1);
    assert.deepEqual(events, []);
    await pollAfter(1);
    assert.deepEqual(events, ['refused IMAGE_UNREADABLE', 'refused IMAGE_UNREADABLE']);
    assert.deepEqual(readdirSync(at('refused')).sort(), ['half.dcm', 'notes.txt']);
    await pollAfter(INCOMPLETE_MS);
    assert.equal(events.length, 2);
  });

  it('removes a second file of the same content, and refuses one of other content', async () => {
    writeFileSync(at('a.dcm'), await fileOf('1.2.3'));
    writeFileSync(at('b.dcm'), await fileOf('1.2.3'));
    writeFileSync(at('c.dcm'), await fileOf('1.2.3', 1));
    await pollAfter(0);
    await pollAfter(SETTLE_MS);
    assert.deepEqual(events, ['stored 1', 'duplicate 1', 'refused INSTANCE_CONFLICT']);
    assert.deepEqual(readdirSync(at('.')).sort(), ['refused']);
    assert.deepEqual(readdirSync(at('refused')), ['c.dcm']);
  });

  it('leaves files where they are while the disk is full, and files that are marked as unfinished', async () => {
    writeFileSync(at('a.dcm'), await fileOf('1.2.3'));
    writeFileSync(at('b.dcm.part'), await fileOf('1.2.4'));
    freeBytes = 0;
    await pollAfter(0);
    await pollAfter(SETTLE_MS);
    assert.deepEqual(events, ['postponed STORAGE_FULL']);
    assert.deepEqual(readdirSync(at('.')).sort(), ['a.dcm', 'b.dcm.part', 'refused']);
    freeBytes = 1e9;
    await pollAfter(0);
    assert.deepEqual(events.slice(1), ['stored 1']);
    assert.deepEqual(readdirSync(at('.')).sort(), ['b.dcm.part', 'refused']);
  });
});
