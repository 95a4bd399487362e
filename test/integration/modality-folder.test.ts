/** The watched folder of the gateway, with a real decoder process. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
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
  /** Called when a file was kept and is not removed yet. */
  let afterKeeping: () => void;

  before(() => {
    decoder = new DicomDecoder({ processes: 1 });
  });
  after(() => decoder.close());
  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'salad-watched-'));
    nowMs = 0;
    freeBytes = 1e9;
    events.length = 0;
    afterKeeping = () => {};
    inbox = await Inbox.open(join(root, 'inbox'), {
      keepFreeBytes: 1000,
      instanceBytesMax: 2 ** 24,
      readDiskSpace: async () => ({ freeBytes }),
    });
    folder = new WatchedFolder({
      ...{ inbox, decoder, path: join(root, 'watched'), priority: 'routine' },
      ...{ settleMs: SETTLE_MS, incompleteMs: INCOMPLETE_MS, pollMs: 1e9, now: () => nowMs },
      events: {
        taken(id, outcome) {
          events.push(`${outcome} ${id}`);
          afterKeeping();
        },
        fileRefused: ({ reason }) => events.push(`refused ${reason}`),
        postponed: ({ reason }) => events.push(`postponed ${reason}`),
        folderUnreadable: (path, reason) => events.push(`${path} unreadable: ${reason}`),
        folderReadable: (path) => events.push(`${path} readable`),
      },
    });
    await folder.start();
  });
  afterEach(async () => {
    await folder.stop(10_000);
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

  describe('whose writer uses a name again', () => {
    for (const [how, write] of [
      ['written', (bytes: Uint8Array) => writeFileSync(at('a.dcm'), bytes)],
      [
        'renamed to it',
        (bytes: Uint8Array) => {
          writeFileSync(at('a.dcm.part'), bytes);
          renameSync(at('a.dcm.part'), at('a.dcm'));
        },
      ],
    ] as const) {
      it(`takes the new file, too, which was ${how} after the first was kept and before it was removed`, async () => {
        const second = await fileOf('1.2.4');
        write(await fileOf('1.2.3'));
        await pollAfter(0);
        afterKeeping = () => {
          afterKeeping = () => {};
          write(second);
        };
        await pollAfter(SETTLE_MS);
        assert.deepEqual(readFileSync(at('a.dcm')), Buffer.from(second));
        await pollAfter(0);
        assert.deepEqual(events, ['stored 1']);
        await pollAfter(SETTLE_MS);
        assert.deepEqual(events, ['stored 1', 'stored 2']);
        assert.deepEqual(readdirSync(at('.')), ['refused']);
      });
    }

    it('loses nothing of a file that is written to after it was kept', async () => {
      const bytes = await fileOf('1.2.3');
      writeFileSync(at('a.dcm'), bytes);
      const writer = openSync(at('a.dcm'), 'a');
      await pollAfter(0);
      afterKeeping = () => {
        writeSync(writer, 'more');
        closeSync(writer);
        afterKeeping = () => {};
      };
      await pollAfter(SETTLE_MS);
      const left = readdirSync(at('.')).filter((name) => name !== 'refused');
      assert.equal(left.length, 1);
      assert.deepEqual(readFileSync(at(left[0]!)), Buffer.concat([bytes, Buffer.from('more')]));
      // It is no copy of what was kept: a person has to see it.
      await pollAfter(0);
      await pollAfter(INCOMPLETE_MS);
      assert.equal(events[0], 'stored 1');
      assert.match(events[1]!, /^refused /);
      assert.deepEqual([readdirSync(at('.')), readdirSync(at('refused'))], [['refused'], ['a.dcm']]);
    });

    it('takes files with names of 255 bytes', async () => {
      writeFileSync(at(`${'x'.repeat(251)}.dcm`), await fileOf('1.2.3'));
      writeFileSync(at(`${'像'.repeat(85)}`), await fileOf('1.2.4'));
      await pollAfter(0);
      await pollAfter(SETTLE_MS);
      assert.deepEqual(events, ['stored 1', 'stored 2']);
      assert.deepEqual(readdirSync(at('.')), ['refused']);
    });

    it('takes a file that was claimed when the gateway was killed', async () => {
      const claimed = '.salad-00000000-0000-4000-8000-000000000000-a.dcm';
      writeFileSync(at(claimed), await fileOf('1.2.3'));
      writeFileSync(at('.b.dcm'), await fileOf('1.2.4'));
      await pollAfter(0);
      await pollAfter(SETTLE_MS);
      assert.deepEqual(events, ['stored 1']);
      assert.deepEqual(readdirSync(at('.')).sort(), ['.b.dcm', 'refused']);
    });
  });

  describe('that cannot be read', () => {
    const path = () => join(root, 'watched');

    it('says so once and when it can be read again, and then takes its files', async () => {
      writeFileSync(at('a.dcm'), await fileOf('1.2.3'));
      await pollAfter(0);
      renameSync(path(), join(root, 'away'));
      await pollAfter(SETTLE_MS);
      await pollAfter(SETTLE_MS);
      assert.deepEqual(events, [`${path()} unreadable: it cannot be read (ENOENT)`]);
      assert.equal(folder.unreadable, 'it cannot be read (ENOENT)');
      renameSync(join(root, 'away'), path());
      await pollAfter(SETTLE_MS);
      assert.equal(folder.unreadable, undefined);
      await pollAfter(SETTLE_MS);
      assert.deepEqual(events.slice(1), [`${path()} readable`, 'stored 1']);
    });

    it('notices that its volume is not mounted although there is an empty folder in its place', async () => {
      const mountPoint = mkdtempSync('/dev/shm/salad-watched-');
      try {
        renameSync(path(), join(root, 'volume'));
        symlinkSync(mountPoint, path());
        await pollAfter(0);
        assert.match(folder.unreadable!, /another volume than at the start: mount its volume/);
        assert.deepEqual(readdirSync(mountPoint), []);
        unlinkSync(path());
        symlinkSync(join(root, 'volume'), path());
        await pollAfter(0);
        assert.equal(folder.unreadable, undefined);
        assert.equal(events.length, 2);
      } finally {
        rmSync(mountPoint, { recursive: true });
      }
    });

    it('makes refused/ again where it was removed', async () => {
      rmSync(at('refused'), { recursive: true });
      await pollAfter(0);
      assert.deepEqual([events, readdirSync(at('.'))], [[], ['refused']]);
    });

    it('says so of a folder below without its name, and takes the other files', async () => {
      writeFileSync(at('z.dcm'), await fileOf('1.2.3'));
      // The path is longer than the operating system allows: also root cannot read the last folder.
      const program = `for (let n = 0; n < 20; n++) { fs.mkdirSync('${'x'.repeat(250)}'); process.chdir('${'x'.repeat(250)}'); }`;
      assert.equal(spawnSync(process.execPath, ['-e', program], { cwd: path() }).status, 0);
      try {
        await pollAfter(0);
        await pollAfter(SETTLE_MS);
        assert.deepEqual(events, [
          `${path()} unreadable: a folder in it cannot be read (ENAMETOOLONG)`,
          'stored 1',
        ]);
      } finally {
        // `rmSync` cannot remove such a path.
        spawnSync('rm', ['-rf', 'x'.repeat(250)], { cwd: path() });
      }
    });
  });
});
