import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { findImageFiles } from '../../../../src/cli/shared/image-files.js';

describe('findImageFiles', () => {
  let folder: string;
  const at = (...names: string[]) => join(folder, ...names);
  const find = async (recursive: boolean, ...names: string[]) => {
    const { files, failures, leftOut } = await findImageFiles(
      names.map((name) => at(name)),
      recursive,
    );
    return {
      files: files.map((file) => relative(folder, file)),
      failures: failures.map(({ path, error }) => `${relative(folder, path)}: ${(error as Error).message}`),
      leftOut: leftOut.map((line) => line.replaceAll(`${folder}/`, '')),
    };
  };

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'salad-images-'));
    for (const name of ['data', 'data/b', 'data/.git', 'data/__MACOSX', 'empty']) mkdirSync(at(name));
    const files = ['a.PNG', 'c.jpeg', 'b/x.jpg', '.hidden.png', '._a.png', '.git/x.png', '__MACOSX/x.png'];
    for (const name of [...files, 'scan.tif', 'scan2.tif', 'README']) writeFileSync(at('data', name), '');
    const dicom = Buffer.concat([Buffer.alloc(128), Buffer.from('DICM')]);
    for (const name of ['d.DCM', 'IM000001', '1.2.840.113', 'DICOMDIR'])
      writeFileSync(at('data', name), dicom);
    symlinkSync('b', at('data/linked'));
    symlinkSync('nowhere', at('data/dangling.png'));
    symlinkSync('b/x.jpg', at('data/link.png'));
    execFileSync('mkfifo', [at('data/pipe.png')]);
    symlinkSync('..', at('data/b/loop'));
  });
  after(() => {
    rmSync(folder, { recursive: true });
  });

  it('lists the PNG, JPEG and DICOM files of a folder by name or content, and reports the files that it skips', async () => {
    assert.deepEqual(await find(false, 'data'), {
      files: [
        ...['data/1.2.840.113', 'data/IM000001', 'data/a.PNG', 'data/c.jpeg', 'data/d.DCM'],
        ...['data/dangling.png', 'data/link.png'],
      ],
      failures: [],
      leftOut: [
        'data: left out files without an extension (1), sub-folders (2), pipes or devices (1), .tif files (2)' +
          '; add --recursive to search sub-folders',
      ],
    });
  });

  it('searches sub-folders with --recursive, and does not follow links to folders', async () => {
    const { files, leftOut } = await find(true, 'data');
    assert.deepEqual(files, [
      ...['data/1.2.840.113', 'data/IM000001', 'data/a.PNG', 'data/b/x.jpg', 'data/c.jpeg', 'data/d.DCM'],
      ...['data/dangling.png', 'data/link.png'],
    ]);
    assert.match(leftOut.join('\n'), /data\/b: left out linked folders \(1\)/);
  });

  it('accepts a named file with any extension, and keeps the order of the command line', async () => {
    const { files } = await find(false, 'data/scan.tif', 'data/.hidden.png', 'data/a.PNG');
    assert.deepEqual(files, ['data/scan.tif', 'data/.hidden.png', 'data/a.PNG']);
  });

  it('reports paths without an image, and does not wait for a pipe', async () => {
    const { files, failures } = await find(true, 'empty', 'missing.png', 'data/pipe.png');
    assert.deepEqual(files, []);
    assert.equal(failures.length, 3);
    assert.match(failures[0] ?? '', /^empty: no PNG, JPEG or DICOM/);
    assert.match(failures[1] ?? '', /^missing.png: ENOENT/);
    assert.match(failures[2] ?? '', /^data\/pipe.png: is a pipe/);
  });
});
